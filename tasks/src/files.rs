//! Tasks on files: made smaller, and made unreadable.

use std::io::{self, Read, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Generate as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{TaskError, task};

use crate::blob::Blob;
use crate::bounds::{MAX_FILE_BYTES, at_most, within};

/// The variable that holds the key of [`encrypt()`] and [`decrypt()`]: 32 bytes
/// as base64, as `openssl rand -base64 32` prints them.
pub const KEY_VARIABLE: &str = "TASKQ_FILES_KEY";

/// What sealed bytes begin with: the version of their form.
const SEALED: u8 = 1;

/// The length of a nonce.
const NONCE: usize = 24;

/// A way to make files smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Zstandard, RFC 8878.
    Zstd,
    /// Gzip, RFC 1952.
    Gzip,
}

/// Makes a file smaller.
///
/// # Errors
/// A permanent one for a file of more than [`MAX_FILE_BYTES`], or a level that
/// is not 1 to 9 (gzip) or 1 to 19 (zstd).
#[task(timeout = "5m")]
pub fn compress(
    /// The file.
    data: Blob,
    /// How; by zstd if it does not say.
    algorithm: Option<Algorithm>,
    /// How hard to try; 6 for gzip and 3 for zstd if it does not say.
    level: Option<u32>,
) -> Result<Blob, TaskError> {
    at_most("data", data.0.len(), MAX_FILE_BYTES, "bytes")?;
    match algorithm.unwrap_or(Algorithm::Zstd) {
        Algorithm::Zstd => {
            let level = within("level", level.unwrap_or(3), 1, 19)?;
            let level = i32::try_from(level).unwrap_or(3);
            Ok(Blob(zstd::encode_all(data.0.as_slice(), level)?))
        }
        Algorithm::Gzip => {
            let level = within("level", level.unwrap_or(6), 1, 9)?;
            let smaller = Vec::with_capacity(data.0.len() / 2);
            let mut writer =
                flate2::write::GzEncoder::new(smaller, flate2::Compression::new(level));
            writer.write_all(&data.0)?;
            Ok(Blob(writer.finish()?))
        }
    }
}

/// Undoes [`compress()`]: the file tells itself how it was made smaller.
///
/// # Errors
/// A permanent one for what is neither zstd nor gzip, is damaged, or would
/// become larger than it may.
#[task(timeout = "5m")]
pub fn decompress(
    /// The smaller file.
    data: Blob,
    /// How many bytes it may become; [`MAX_FILE_BYTES`] if it does not say, and
    /// at most.
    max_bytes: Option<u64>,
) -> Result<Blob, TaskError> {
    at_most("data", data.0.len(), MAX_FILE_BYTES, "bytes")?;
    let most = within(
        "max_bytes",
        max_bytes.unwrap_or(MAX_FILE_BYTES as u64),
        0,
        MAX_FILE_BYTES as u64,
    )?;
    let bytes = data.0.as_slice();
    let larger = match bytes {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let reader = zstd::Decoder::new(bytes).map_err(damaged)?;
            read_at_most(reader, most)
        }
        [0x1f, 0x8b, ..] => read_at_most(flate2::read::MultiGzDecoder::new(bytes), most),
        _ => return Err(TaskError::permanent("data is neither zstd nor gzip")),
    };
    larger.map(Blob)
}

/// A small file can become as large as the disk: it is read no further than it
/// may go.
fn read_at_most(reader: impl Read, most: u64) -> Result<Vec<u8>, TaskError> {
    let mut larger = Vec::new();
    let mut reader = reader.take(most + 1);
    reader.read_to_end(&mut larger).map_err(damaged)?;
    if larger.len() as u64 > most {
        return Err(TaskError::permanent(format!(
            "data would become more than {most} bytes; allow more by max_bytes, if it is yours"
        )));
    }
    Ok(larger)
}

#[expect(clippy::needless_pass_by_value, reason = "a closure's place")]
fn damaged(error: io::Error) -> TaskError {
    TaskError::permanent(format!("data is damaged: {error}"))
}

/// Makes a file unreadable to who does not have the key, and proof against
/// changes: XChaCha20-Poly1305 with a nonce of its own.
///
/// The key is the worker's, in `TASKQ_FILES_KEY`; the producer has none.
///
/// # Errors
/// A permanent one for a file of more than [`MAX_FILE_BYTES`], or when the worker
/// has no key.
#[task(sensitive, timeout = "5m")]
pub fn encrypt(
    /// The file.
    data: Blob,
    /// What it belongs to, which must be told again to read it: a user's id,
    /// say. It is not in the file.
    context: Option<String>,
) -> Result<Blob, TaskError> {
    at_most("data", data.0.len(), MAX_FILE_BYTES, "bytes")?;
    seal(&key()?, &data.0, context.as_deref()).map(Blob)
}

/// Undoes [`encrypt()`].
///
/// # Errors
/// A permanent one for another key, another context, or bytes that somebody
/// changed.
#[task(sensitive, timeout = "5m")]
pub fn decrypt(
    /// The unreadable file.
    data: Blob,
    /// What it belongs to, as it was told.
    context: Option<String>,
) -> Result<Blob, TaskError> {
    at_most(
        "data",
        data.0.len(),
        MAX_FILE_BYTES + 1 + NONCE + 16,
        "bytes",
    )?;
    unseal(&key()?, &data.0, context.as_deref()).map(Blob)
}

fn key() -> Result<XChaCha20Poly1305, TaskError> {
    let text = std::env::var(KEY_VARIABLE).map_err(|_| {
        TaskError::permanent(format!(
            "this worker has no key; set {KEY_VARIABLE} to 32 bytes as base64 \
             (openssl rand -base64 32)"
        ))
    })?;
    parse_key(&text)
}

fn parse_key(text: &str) -> Result<XChaCha20Poly1305, TaskError> {
    // What is wrong with it is told without it.
    let wrong = || TaskError::permanent(format!("{KEY_VARIABLE} is not 32 bytes as base64"));
    let bytes = STANDARD.decode(text.trim()).map_err(|_| wrong())?;
    XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| wrong())
}

fn seal(
    cipher: &XChaCha20Poly1305,
    data: &[u8],
    context: Option<&str>,
) -> Result<Vec<u8>, TaskError> {
    let nonce = XNonce::generate();
    let aad = context.unwrap_or_default().as_bytes();
    let unreadable = cipher
        .encrypt(&nonce, Payload { msg: data, aad })
        .map_err(|_| TaskError::permanent("data is too large to encrypt"))?;
    let mut sealed = Vec::with_capacity(1 + NONCE + unreadable.len());
    sealed.push(SEALED);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&unreadable);
    Ok(sealed)
}

fn unseal(
    cipher: &XChaCha20Poly1305,
    sealed: &[u8],
    context: Option<&str>,
) -> Result<Vec<u8>, TaskError> {
    let Some((&SEALED, rest)) = sealed.split_first() else {
        return Err(TaskError::permanent(
            "data is no encrypted file of this form",
        ));
    };
    let Some((nonce, unreadable)) = rest.split_at_checked(NONCE) else {
        return Err(TaskError::permanent("data is no whole encrypted file"));
    };
    let aad = context.unwrap_or_default().as_bytes();
    let payload = Payload {
        msg: unreadable,
        aad,
    };
    let opened = XNonce::try_from(nonce)
        .ok()
        .map(|nonce| cipher.decrypt(&nonce, payload));
    opened.and_then(Result::ok).ok_or_else(|| {
        TaskError::permanent("the key or the context is another, or the file was changed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Blob {
        Blob("all work and no play ".repeat(1000).into_bytes())
    }

    #[test]
    fn what_is_made_smaller_comes_back() {
        for algorithm in [Algorithm::Zstd, Algorithm::Gzip] {
            for data in [text(), Blob::default()] {
                let smaller = compress(data.clone(), Some(algorithm), None).unwrap();
                assert!(data.0.is_empty() || smaller.0.len() < data.0.len() / 10);
                assert_eq!(decompress(smaller, None).unwrap(), data);
            }
        }
    }

    #[test]
    fn what_would_become_too_large_is_refused_for_good() {
        let zeros = Blob(vec![0; 10 << 20]);
        for algorithm in [Algorithm::Zstd, Algorithm::Gzip] {
            let smaller = compress(zeros.clone(), Some(algorithm), Some(9)).unwrap();
            let error = decompress(smaller.clone(), Some((10 << 20) - 1)).unwrap_err();
            assert!(error.is_permanent(), "{error}");
            assert_eq!(decompress(smaller, Some(10 << 20)).unwrap(), zeros);
        }
    }

    #[test]
    fn a_damaged_file_is_refused_for_good() {
        for algorithm in [Algorithm::Zstd, Algorithm::Gzip] {
            let mut smaller = compress(text(), Some(algorithm), None).unwrap();
            smaller.0.truncate(smaller.0.len() - 5);
            let error = decompress(smaller, None).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{error}");
        }
        let error = decompress(text(), None).unwrap_err();
        assert!(error.to_string().contains("neither"), "{error}");
        assert!(compress(text(), None, Some(20)).unwrap_err().is_permanent());
    }

    fn cipher(byte: u8) -> XChaCha20Poly1305 {
        parse_key(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn what_is_encrypted_comes_back_with_its_key_and_context_only() {
        let sealed = seal(&cipher(1), b"secret", Some("user 7")).unwrap();
        assert_eq!(
            unseal(&cipher(1), &sealed, Some("user 7")).unwrap(),
            b"secret"
        );
        assert_ne!(sealed, seal(&cipher(1), b"secret", Some("user 7")).unwrap());
        assert!(
            unseal(&cipher(2), &sealed, Some("user 7"))
                .unwrap_err()
                .is_permanent()
        );
        assert!(unseal(&cipher(1), &sealed, None).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            let error = unseal(&cipher(1), &changed, Some("user 7")).unwrap_err();
            assert!(error.is_permanent(), "byte {place}: {error}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(&cipher(1), &sealed[..length], Some("user 7")).is_err());
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_told() {
        for text in ["", "hunter2", "aHVudGVyMg=="] {
            let error = parse_key(text).unwrap_err();
            assert!(error.to_string().contains("32 bytes"), "{error}");
            assert!(
                text.is_empty() || !error.to_string().contains(text),
                "{error}"
            );
        }
    }
}
