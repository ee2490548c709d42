//! Tasks that take long: they tell how far they are, stop when they are asked,
//! and go on where they stopped when their worker is gone.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use taskq::{Context, TaskError, task};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

use crate::bounds::within;

/// The most files of a simulated backup.
const MOST_FILES: u32 = 100_000;

/// The longest that one file of it takes: a minute, in milliseconds.
const LONGEST_FILE: u32 = 60_000;

/// How much of a file is read between two checkpoints: 16 MiB.
const PORTION: u64 = 16 << 20;

/// The variable that names the folder whose files
/// [`large_file_processing()`] may read.
pub const FOLDER_VARIABLE: &str = "TASKQ_FILES_DIR";

/// What a simulated backup did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// How many files are copied, by all attempts.
    pub files: u32,
    /// What they have together, in bytes.
    pub bytes: u64,
    /// How many attempts it took.
    pub attempts: u32,
}

/// How far a simulated backup is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Copied {
    files: u32,
    bytes: u64,
}

/// Does as if it copied files: to see progress, cancellation and what becomes
/// of a long task whose worker is killed.
///
/// # Errors
/// A permanent one when a number is out of its bounds.
#[task(retries = 3)]
pub async fn simulate_backup(
    ctx: Context,
    /// How many files, 1 to 100,000; 100 if it does not say.
    files: Option<u32>,
    /// How long each takes, in milliseconds, up to a minute; 100 if it does not
    /// say.
    file_millis: Option<u32>,
) -> Result<Backup, TaskError> {
    let files = within("files", files.unwrap_or(100), 1, MOST_FILES)?;
    let millis = within("file_millis", file_millis.unwrap_or(100), 0, LONGEST_FILE)?;
    let mut copied: Copied = ctx.last_checkpoint().await?.unwrap_or_default();
    if copied.files > 0 {
        ctx.log(format_args!("goes on after {} files", copied.files));
    }
    // A checkpoint each second, and not for each of many small files.
    let portion = (1000 / millis.max(1)).max(1);
    while copied.files < files {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis.into())) => {}
            () = ctx.cancelled() => {
                ctx.checkpoint(&copied).await?;
                let done = copied.files;
                return Err(format!("stopped after {done} of {files} files").into());
            }
        }
        copied.files += 1;
        // As large as its number has it, so that it is the same each time.
        copied.bytes += u64::from(copied.files % 97) * 1024;
        ctx.progress(
            copied.files.into(),
            files.into(),
            format!("file {}", copied.files),
        );
        if copied.files.is_multiple_of(portion) {
            ctx.checkpoint(&copied).await?;
        }
    }
    Ok(Backup {
        files: copied.files,
        bytes: copied.bytes,
        attempts: ctx.attempt(),
    })
}

/// What is in a large file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileReport {
    /// Its length in bytes.
    pub bytes: u64,
    /// How many line ends it has.
    pub lines: u64,
    /// The longest line, in bytes, without its end.
    pub longest_line: u64,
    /// The SHA-256 of each 16 MiB of it, hashed again, as hexadecimal digits.
    pub digest: String,
    /// How many attempts it took.
    pub attempts: u32,
}

/// How far a file is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Read {
    /// The length that it had, and when it was changed: another file is begun
    /// anew.
    length: u64,
    changed: Option<u128>,
    at: u64,
    lines: u64,
    line: u64,
    longest: u64,
    /// Of what is read so far.
    digest: [u8; 32],
}

/// Reads a file of any size in portions of 16 MiB: counts its lines and hashes
/// it. When the worker is killed, the next attempt goes on with the portion that
/// was being read.
///
/// The file is in the worker's folder that `TASKQ_FILES_DIR` names; without it
/// no file is read.
///
/// # Errors
/// A permanent one for a name that leads out of the folder, for what is no file,
/// or when the worker has no folder.
#[task(retries = 3)]
pub async fn large_file_processing(
    ctx: Context,
    /// The file's name, from the folder on.
    name: String,
) -> Result<FileReport, TaskError> {
    let folder = std::env::var_os(FOLDER_VARIABLE).ok_or_else(|| {
        TaskError::permanent(format!(
            "this worker reads no files; set {FOLDER_VARIABLE} to the folder that it may read"
        ))
    })?;
    process(&ctx, folder.into(), &name, PORTION).await
}

async fn process(
    ctx: &Context,
    folder: PathBuf,
    name: &str,
    portion: u64,
) -> Result<FileReport, TaskError> {
    let permanent = |why: &str| TaskError::permanent(format!("{name:?} {why}"));
    let folder = tokio::fs::canonicalize(folder).await?;
    let path = tokio::fs::canonicalize(folder.join(name)).await;
    let path = path.map_err(|error| permanent(&format!("cannot be found: {error}")))?;
    // After links are followed, whichever they are.
    if !path.starts_with(&folder) {
        return Err(permanent("is outside the folder that this worker may read"));
    }
    let mut file = tokio::fs::File::open(path).await?;
    let about = file.metadata().await?;
    if !about.is_file() {
        return Err(permanent("is no file"));
    }
    let changed = about.modified().ok();
    let changed = changed.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let (length, changed) = (about.len(), changed.map(|since| since.as_nanos()));
    let kept: Option<Read> = ctx.last_checkpoint().await?;
    let mut read = match kept {
        Some(kept) if kept.length == length && kept.changed == changed => {
            ctx.log(format_args!("goes on at byte {}", kept.at));
            kept
        }
        _ => Read {
            length,
            changed,
            ..Read::default()
        },
    };
    file.seek(SeekFrom::Start(read.at)).await?;
    let mut buffer = vec![0; 256 << 10];
    while read.at < length {
        let end = (read.at + portion).min(length);
        let mut hash = Sha256::new();
        // What is counted since the last checkpoint is lost with the attempt.
        let mut next = read.clone();
        while next.at < end {
            let most = usize::try_from(end - next.at).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let got = file.read(&mut buffer[..most]).await?;
            if got == 0 {
                return Err("the file became shorter while it was read".into());
            }
            hash.update(&buffer[..got]);
            count(&mut next, &buffer[..got]);
            if ctx.is_cancelled() {
                return Err(format!("stopped at byte {} of {length}", next.at).into());
            }
        }
        let mut all = Sha256::new();
        all.update(read.digest);
        all.update(hash.finalize());
        next.digest = all.finalize().into();
        read = next;
        ctx.checkpoint(&read).await?;
        ctx.progress(read.at, length, "bytes");
    }
    Ok(FileReport {
        bytes: length,
        lines: read.lines,
        longest_line: read.longest.max(read.line),
        digest: read
            .digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        attempts: ctx.attempt(),
    })
}

fn count(read: &mut Read, bytes: &[u8]) {
    read.at += bytes.len() as u64;
    let mut parts = bytes.split(|byte| *byte == b'\n');
    // The first goes on with the line before.
    read.line += parts.next().map_or(0, |part| part.len() as u64);
    for part in parts {
        read.longest = read.longest.max(read.line);
        read.lines += 1;
        read.line = part.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: u64 = 64 << 10;

    #[tokio::test(start_paused = true)]
    async fn a_backup_goes_on_where_it_stopped() {
        let whole = simulate_backup(Context::test(), Some(50), Some(100))
            .await
            .unwrap();
        assert_eq!((whole.files, whole.attempts), (50, 1));
        let ctx = Context::test();
        let before = Copied {
            files: 30,
            bytes: 1,
        };
        ctx.checkpoint(&before).await.unwrap();
        let rest = simulate_backup(ctx, Some(50), Some(100)).await.unwrap();
        assert_eq!(rest.files, 50);
        assert!(
            rest.bytes < whole.bytes,
            "the first thirty are not copied again"
        );
        let error = simulate_backup(Context::test(), Some(0), None)
            .await
            .unwrap_err();
        assert!(error.is_permanent(), "{error}");
    }

    async fn of(ctx: &Context, bytes: &[u8]) -> FileReport {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), bytes).unwrap();
        process(ctx, folder.path().into(), "file", FEW)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_file_is_counted_and_hashed() {
        let report = of(&Context::test(), b"one\nthree\n\nsix").await;
        assert_eq!(
            (report.bytes, report.lines, report.longest_line),
            (14, 3, 5)
        );
        let empty = of(&Context::test(), b"").await;
        assert_eq!((empty.bytes, empty.lines, empty.longest_line), (0, 0, 0));
        let long = vec![b'x'; usize::try_from(FEW).unwrap() + 10];
        let long = of(&Context::test(), &long).await;
        assert_eq!((long.lines, long.longest_line), (0, FEW + 10));
        assert_ne!(long.digest, report.digest);
    }

    #[tokio::test]
    async fn a_file_is_read_on_from_the_last_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let portion = usize::try_from(FEW).unwrap();
        let text: Vec<u8> = (0..portion * 2 + 100).map(|at| (at % 251) as u8).collect();
        std::fs::write(folder.path().join("file"), &text).unwrap();
        let ctx = Context::test();
        let whole = process(&ctx, folder.path().into(), "file", FEW)
            .await
            .unwrap();
        // As an attempt that was killed in the second portion had left it.
        let mut kept: Read = ctx.last_checkpoint().await.unwrap().unwrap();
        let first = Read {
            length: kept.length,
            changed: kept.changed,
            ..Read::default()
        };
        let mut state = first;
        count(&mut state, &text[..portion]);
        let mut all = Sha256::new();
        all.update([0; 32]);
        all.update(Sha256::digest(&text[..portion]));
        state.digest = all.finalize().into();
        ctx.checkpoint(&state).await.unwrap();
        let again = process(&ctx, folder.path().into(), "file", FEW)
            .await
            .unwrap();
        assert_eq!(again, whole);
        // Of another file nothing is kept.
        kept.changed = Some(1);
        kept.lines = 1_000_000;
        ctx.checkpoint(&kept).await.unwrap();
        assert_eq!(
            process(&ctx, folder.path().into(), "file", FEW)
                .await
                .unwrap(),
            whole
        );
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
        let secret = folder.path().join("secret");
        for name in ["../secret", secret.to_str().unwrap(), "link", "none", "."] {
            let read = process(&Context::test(), inside.clone(), name, FEW).await;
            assert!(read.unwrap_err().is_permanent(), "{name}");
        }
    }
}
