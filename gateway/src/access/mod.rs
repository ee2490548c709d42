//! Who asks, and what they may do.
//!
//! Without any list of people or tokens there is no login: whoever reaches the
//! loopback address may do everything, and no other address is listened at.

mod action;
mod jwt;
mod lines;
mod proxy;
mod role;
mod session;
pub(crate) mod throttle;
mod token;
mod user;
mod watched;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use self::action::{ACTIONS, Action, table};
pub(crate) use self::action::{allowed, looks, of};
use self::jwt::Jwt;
pub use self::jwt::JwtRules;
pub use self::proxy::Proxies;
pub use self::role::Role;
use self::session::Listed;
pub(crate) use self::session::{Session, Sessions};
use self::token::Tokens;
pub use self::token::{add_token, make_token};
use self::user::Users;
pub use self::user::hash_password;
pub(crate) use self::watched::Watched;

/// The cookie of a session.
pub(crate) const COOKIE: &str = "taskq_session";

/// Who is known, and by what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: Option<Watched<Tokens>>,
    users: Option<Watched<Users>>,
    jwt: Option<Jwt>,
    pub(crate) sessions: Sessions,
}

/// How it is known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownBy {
    /// There is no login.
    Nothing,
    /// A static token.
    Token,
    /// A JWT that somebody else has signed.
    Jwt,
    /// A login in a browser.
    Session,
}

impl KnownBy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Session => "session",
        }
    }
}

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) by: KnownBy,
    /// The session by which they are known, and its token against forgery.
    pub(crate) session: Option<(Session, String)>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) known: Known,
    pub(crate) from: Option<IpAddr>,
    /// The id of the request, as in the log.
    pub(crate) request: String,
}

impl std::ops::Deref for Caller {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

/// Why somebody is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They do not say who they are.
    Silent,
    /// What they say is not true, or no longer.
    Wrong,
}

/// Somebody who has just logged in.
#[derive(Clone, Debug)]
pub(crate) struct LoggedIn {
    pub(crate) known: Known,
    /// The cookie's value.
    pub(crate) cookie: String,
}

impl Access {
    /// Reads a file of tokens, and again when it changes: a line each of name,
    /// role and `sha256:` with the hash, as [`make_token`] gives it.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::default().tokens(path)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// When a line is none.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self {
            tokens: Some(Watched::fixed(Tokens::parse(text)?)),
            ..Self::default()
        })
    }

    /// Who has a token of this file is known too.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn tokens(mut self, path: &Path) -> anyhow::Result<Self> {
        self.tokens = Some(Watched::text(path, "tokens", Tokens::parse)?);
        Ok(self)
    }

    /// Who has a password by this file can log in: a line each of name, role and
    /// hash, as [`hash_password`] gives it.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is none.
    pub fn users(mut self, path: &Path) -> anyhow::Result<Self> {
        self.users = Some(Watched::text(path, "users", Users::parse)?);
        Ok(self)
    }

    /// The same, from the text of such a file.
    ///
    /// # Errors
    /// When a line is none.
    pub fn users_of(mut self, text: &str) -> anyhow::Result<Self> {
        self.users = Some(Watched::fixed(Users::parse(text)?));
        Ok(self)
    }

    /// Who has a JWT that a key of this file has signed is known too: a set of
    /// keys (JWKS), a public key in PEM form, or a secret.
    ///
    /// # Errors
    /// When the file cannot be read, or has no key.
    pub fn jwt(mut self, path: &Path, rules: JwtRules) -> anyhow::Result<Self> {
        self.jwt = Some(Jwt::read(path, rules)?);
        Ok(self)
    }

    /// The same, from the text of such a file.
    ///
    /// # Errors
    /// When it has no key.
    pub fn jwt_of(mut self, text: &str, rules: JwtRules) -> anyhow::Result<Self> {
        self.jwt = Some(Jwt::parse(text, rules)?);
        Ok(self)
    }

    /// How long a session is good, and the file of the key that signs sessions:
    /// the same for all replicas.
    ///
    /// # Errors
    /// When the file cannot be read, or is too short for a key.
    pub fn sessions(mut self, key: Option<&Path>, age: Duration) -> anyhow::Result<Self> {
        self.sessions = match key {
            None => Sessions::keyless(age),
            Some(path) => {
                let key = std::fs::read(path).with_context(|| {
                    format!("cannot read the session key in {}", path.display())
                })?;
                let key = key.trim_ascii();
                if key.len() < 32 {
                    bail!(
                        "the session key in {} has {} bytes, and needs 32 at least; `openssl rand \
                         -hex 32` makes one",
                        path.display(),
                        key.len()
                    );
                }
                Sessions::new(key, age)
            }
        };
        Ok(self)
    }

    /// Whether there is no login.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tokens.is_none() && self.users.is_none() && self.jwt.is_none()
    }

    /// Whether anybody can log in with a name and a password, or a token for one.
    pub(crate) fn has_login(&self) -> bool {
        self.users.is_some() || self.tokens.is_some()
    }

    /// Who asks, by the headers.
    pub(crate) fn who(&self, headers: &HeaderMap) -> Result<Known, Unknown> {
        if self.is_open() {
            return Ok(Known {
                name: "anonymous".to_owned(),
                role: Role::Admin,
                by: KnownBy::Nothing,
                session: None,
            });
        }
        if let Some(credentials) = headers.get(header::AUTHORIZATION) {
            let credentials = credentials.to_str().map_err(|_| Unknown::Wrong)?;
            return self.by_credentials(credentials).ok_or(Unknown::Wrong);
        }
        match cookie(headers) {
            Some(cookie) => self.by_session(cookie).ok_or(Unknown::Wrong),
            None => Err(Unknown::Silent),
        }
    }

    fn by_credentials(&self, credentials: &str) -> Option<Known> {
        let (scheme, credentials) = credentials.split_once(' ')?;
        let credentials = credentials.trim();
        let tokens = self.tokens.as_ref().map(Watched::get);
        let token = if scheme.eq_ignore_ascii_case("bearer") {
            let token = tokens.as_ref().and_then(|tokens| tokens.find(credentials));
            match token {
                Some(token) => token,
                None => return self.by_jwt(credentials),
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
            let (name, secret) = text.split_once(':')?;
            let token = tokens.as_ref()?.find(secret);
            token.filter(|token| token.name == name)?
        } else {
            return None;
        };
        Some(Known {
            name: token.name.clone(),
            role: token.role,
            by: KnownBy::Token,
            session: None,
        })
    }

    fn by_jwt(&self, token: &str) -> Option<Known> {
        let (name, role) = self.jwt.as_ref()?.who(token)?;
        Some(Known {
            name,
            role,
            by: KnownBy::Jwt,
            session: None,
        })
    }

    fn by_session(&self, cookie: &str) -> Option<Known> {
        let session = Sessions::claim(cookie)?;
        let (role, line) = self.line(&session.name, session.listed)?;
        if !self.sessions.is_good(&session, &line, cookie) {
            return None;
        }
        let csrf = self.sessions.csrf(&session, &line);
        Some(Known {
            name: session.name.clone(),
            role,
            by: KnownBy::Session,
            session: Some((session, csrf)),
        })
    }

    /// Whether this is a session's token against forgery.
    pub(crate) fn is_csrf(&self, session: &Session, token: &str) -> bool {
        let line = self.line(&session.name, session.listed);
        line.is_some_and(|(_, line)| self.sessions.is_csrf(session, &line, token))
    }

    /// The role and the secret part of somebody's line.
    fn line(&self, name: &str, listed: Listed) -> Option<(Role, Vec<u8>)> {
        match listed {
            Listed::User => {
                let users = self.users.as_ref()?.get();
                let user = users.of(name)?;
                Some((user.role, user.hash.clone().into_bytes()))
            }
            Listed::Token => {
                let tokens = self.tokens.as_ref()?.get();
                let token = tokens.of(name)?;
                Some((token.role, token.hash.to_vec()))
            }
        }
    }

    /// Begins a session for who has a password, or a token for one.
    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Option<LoggedIn> {
        let users = self.users.as_ref().map(Watched::get);
        let hash = users.and_then(|users| users.of(name).map(|user| user.hash.clone()));
        let token = self.tokens.as_ref().map(Watched::get);
        let has_token = token.is_some_and(|tokens| {
            let token = tokens.find(password);
            token.is_some_and(|token| token.name == name)
        });
        let listed = if has_token {
            Listed::Token
        } else if user::is_password(hash, password).await {
            Listed::User
        } else {
            return None;
        };
        let (_, line) = self.line(name, listed)?;
        let (_, cookie) = self.sessions.begin(name, listed, &line);
        let known = self.by_session(&cookie)?;
        Some(LoggedIn { known, cookie })
    }
}

/// The cookie of a session, if it is sent.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    all.filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_name_the_owner_of_a_token() {
        let (secret, line) = make_token("ada", Role::Operator);
        let access = Access::parse(&line).unwrap();
        assert!(!access.is_open());
        let who = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            access.who(&headers).map(|known| (known.name, known.role))
        };
        let ada = Ok(("ada".to_owned(), Role::Operator));
        assert_eq!(who(format!("Bearer {secret}")), ada);
        let basic = |name: &str| STANDARD.encode(format!("{name}:{secret}"));
        assert_eq!(who(format!("basic {}", basic("ada"))), ada);
        assert_eq!(who(format!("Basic {}", basic("bob"))), Err(Unknown::Wrong));
        assert_eq!(who(format!("Bearer {secret}x")), Err(Unknown::Wrong));
        let silent = access.who(&HeaderMap::new()).map(|known| known.name);
        assert_eq!(silent, Err(Unknown::Silent));
    }

    #[tokio::test]
    async fn who_logs_in_is_known_by_the_cookie_and_by_their_line_as_it_is_now() {
        let line = hash_password("ada", Role::Admin, "correct horse").unwrap();
        let access = Access::default().users_of(&line).unwrap();
        assert!(access.log_in("ada", "wrong horse").await.is_none());
        assert!(access.log_in("bob", "correct horse").await.is_none());
        let login = access.log_in("ada", "correct horse").await.unwrap();
        let mut headers = HeaderMap::new();
        let cookies = format!("theme=dark; {COOKIE}={}; x=y", login.cookie);
        headers.insert(header::COOKIE, cookies.parse().unwrap());
        let known = access.who(&headers).unwrap();
        assert_eq!((known.name.as_str(), known.role), ("ada", Role::Admin));
        let (session, csrf) = known.session.unwrap();
        assert!(access.is_csrf(&session, &csrf));
        // Another role counts at once, another password ends the session.
        let demoted = line.replace("admin", "viewer");
        let access = access.users_of(&demoted).unwrap();
        assert_eq!(access.who(&headers).unwrap().role, Role::Viewer);
        let line = hash_password("ada", Role::Admin, "another horse").unwrap();
        let access = access.users_of(&line).unwrap();
        assert!(access.who(&headers).is_err());
    }
}
