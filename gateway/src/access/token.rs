//! Static tokens: of programs, and of people who have no other login.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Role;
use super::lines::{check_name, named};

/// The tokens of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(Vec<Token>);

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) role: Role,
    /// The SHA-256 of the secret. The secret is random and long, so it cannot
    /// be guessed from this, and need not be slow to check.
    pub(super) hash: [u8; 32],
}

impl Tokens {
    /// Reads the text of a file of tokens.
    ///
    /// # Errors
    /// When a line is none, or there is none.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let tokens = named(text, parse_line, |token| &token.name)?;
        if tokens.is_empty() {
            bail!("there is no token in it; `gateway token` makes one");
        }
        Ok(Self(tokens))
    }

    /// Whose secret this is.
    pub(super) fn find(&self, secret: &str) -> Option<&Token> {
        // Hashes are compared, of which nobody can choose a prefix.
        let hash: [u8; 32] = Sha256::digest(secret).into();
        self.0.iter().find(|token| token.hash == hash)
    }

    pub(super) fn of(&self, name: &str) -> Option<&Token> {
        self.0.iter().find(|token| token.name == name)
    }
}

fn parse_line(line: &str) -> anyhow::Result<Token> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(role), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        bail!("write it like `ada operator sha256:..`; `gateway token` makes such a line");
    };
    let hash = hash
        .strip_prefix("sha256:")
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .context("the third word is no `sha256:` with a hash; `gateway token` makes one")?;
    Ok(Token {
        name: check_name(name)?,
        role: role.parse()?,
        hash,
    })
}

/// A new secret, and the line by which a file of tokens knows it.
#[must_use]
pub fn make_token(name: &str, role: Role) -> (String, String) {
    let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let bytes: Vec<u8> = random.iter().flat_map(|part| *part.as_bytes()).collect();
    let secret = format!("tq_{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&secret));
    let line = format!("{name} {role} sha256:{hash}");
    (secret, line)
}

/// Adds a new token to a file of tokens, which is made if it is not there, and
/// writes the secret to another file if that is wanted. Returns the secret; none
/// when the file has a token of this name, and nothing is to be done.
///
/// # Errors
/// When the name is none, a line of the file is none, or a file cannot be written.
pub fn add_token(
    file: &Path,
    name: &str,
    role: Role,
    secret_file: Option<&Path>,
) -> anyhow::Result<Option<String>> {
    let name = check_name(name)?;
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let tokens = named(&text, parse_line, |token| &token.name)
        .with_context(|| format!("in {}", file.display()))?;
    if tokens.iter().any(|token| token.name == name) {
        return Ok(None);
    }
    let (secret, line) = make_token(&name, role);
    // The secret first: a line whose secret nobody has would stay.
    if let Some(path) = secret_file {
        write(path, &secret, 0o640, false)?;
    }
    let parted = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    write(file, &format!("{parted}{line}\n"), 0o600, true)?;
    Ok(Some(secret))
}

/// Writes a file, which others than its owner may reach only as `mode` says.
fn write(path: &Path, text: &str, mode: u32, append: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(append).write(true);
    if !append {
        options.truncate(true);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_added_once_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, secret_file) = (folder.path().join("tokens"), folder.path().join("secret"));
        fs::write(&file, make_token("ada", Role::Admin).1).unwrap();
        let added = add_token(&file, "prometheus", Role::Viewer, Some(&secret_file)).unwrap();
        let secret = added.unwrap();
        assert_eq!(fs::read_to_string(&secret_file).unwrap(), secret);
        let text = fs::read_to_string(&file).unwrap();
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.find(&secret).unwrap().name, "prometheus");
        assert!(tokens.of("ada").is_some());
        for name in ["prometheus", "ada"] {
            let again = add_token(&file, name, Role::Admin, Some(&secret_file)).unwrap();
            assert_eq!(again, None, "{name}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(fs::read_to_string(&secret_file).unwrap(), secret);
    }

    #[test]
    fn a_made_token_is_known_by_its_line_and_by_nothing_else() {
        let (secret, line) = make_token("ada", Role::Operator);
        assert!(!line.contains(&secret));
        let tokens = Tokens::parse(&format!("# people\n\n{line}\n")).unwrap();
        assert_eq!(tokens.find(&secret).unwrap().name, "ada");
        assert!(tokens.find(&format!("{secret}x")).is_none());
    }

    #[test]
    fn a_line_that_is_no_token_is_told() {
        for bad in [
            "",
            "ada",
            "ada chief sha256:AA",
            "ada viewer AA",
            "ada viewer sha256:AA",
        ] {
            assert!(Tokens::parse(bad).is_err(), "{bad}");
        }
        let (_, line) = make_token("ada", Role::Viewer);
        assert!(Tokens::parse(&format!("{line}\n{line}")).is_err());
    }
}
