//! People, who log in with a password.

use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, bail};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::Role;
use super::lines::{check_name, named};

/// The longest password: what is longer is no password.
const LONGEST: usize = 1024;
/// The shortest that is hashed; one that was hashed elsewhere may be shorter.
const SHORTEST: usize = 8;
/// How many passwords are checked at once: each takes 19 MiB for a moment.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// The people of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Vec<User>);

#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: Role,
    /// In PHC form, `$argon2id$..`.
    pub(super) hash: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.role)
    }
}

impl Users {
    /// Reads the text of a file of users: a line each of name, role and hash.
    ///
    /// # Errors
    /// When a line is none, or there is none.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let users = named(text, parse_line, |user| &user.name)?;
        if users.is_empty() {
            bail!("there is nobody in it; `gateway hash-password` makes a line");
        }
        Ok(Self(users))
    }

    pub(super) fn of(&self, name: &str) -> Option<&User> {
        self.0.iter().find(|user| user.name == name)
    }
}

/// Whether this is the password of a hash. Where there is no hash it takes as
/// long, so that nobody can tell which names there are.
pub(super) async fn is_password(hash: Option<String>, password: &str) -> bool {
    if password.len() > LONGEST {
        return false;
    }
    let Ok(_turn) = AT_ONCE.acquire().await else {
        return false;
    };
    let password = password.to_owned();
    let checked = tokio::task::spawn_blocking(move || {
        static NOBODY: OnceLock<String> = OnceLock::new();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| {
            let nobody = NOBODY.get_or_init(|| hash_of("nobody at all").unwrap_or_default());
            nobody.clone()
        });
        let is = PasswordHash::new(&hash).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        });
        is && known
    });
    checked.await.unwrap_or(false)
}

fn hash_of(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash
        .map_err(|error| anyhow!("the password cannot be hashed: {error}"))?
        .to_string())
}

/// The line by which a file of users knows somebody with this password.
///
/// # Errors
/// For a name that is none, and a password that is too short or too long.
pub fn hash_password(name: &str, role: Role, password: &str) -> anyhow::Result<String> {
    if password.len() < SHORTEST || password.len() > LONGEST {
        bail!("a password has {SHORTEST} to {LONGEST} bytes; choose another");
    }
    let (name, hash) = (check_name(name)?, hash_of(password)?);
    Ok(format!("{name} {role} {hash}"))
}

fn parse_line(line: &str) -> anyhow::Result<User> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(role), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        bail!(
            "write it like `ada operator $argon2id$..`; `gateway hash-password` makes such a line"
        );
    };
    if !hash.starts_with("$argon2id$") {
        bail!("the third word is no `$argon2id$` hash; `gateway hash-password` makes one");
    }
    PasswordHash::new(hash)
        .map_err(|error| anyhow!("{error}"))
        .context("the hash cannot be read; `gateway hash-password` makes one")?;
    Ok(User {
        name: check_name(name)?,
        role: role.parse()?,
        hash: hash.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_line_and_by_nothing_else() {
        let line = hash_password("ada", Role::Admin, "correct horse").unwrap();
        let users = Users::parse(&line).unwrap();
        let ada = users.of("ada").unwrap();
        assert_eq!(ada.role, Role::Admin);
        assert!(is_password(Some(ada.hash.clone()), "correct horse").await);
        assert!(!is_password(Some(ada.hash.clone()), "correct horsf").await);
        assert!(!is_password(None, "nobody at all").await);
        assert!(!format!("{users:?}").contains("argon2"));
    }

    #[test]
    fn a_line_that_is_no_user_is_told() {
        for bad in [
            "",
            "ada",
            "ada admin secret",
            "ada admin $argon2id$x",
            "ada admin $argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA",
        ] {
            assert!(Users::parse(bad).is_err(), "{bad}");
        }
        assert!(hash_password("a b", Role::Admin, "correct horse").is_err());
        assert!(hash_password("ada", Role::Admin, "short").is_err());
    }
}
