//! Logins that last: a signed cookie, which is good in every replica.
//!
//! What is signed is whose session it is, which one, and until when. The key is
//! made from the owner's line in the file of users (or tokens) and the session
//! key, so replicas with the same files agree, and whoever's password is changed
//! or who is removed has no session any more. The role is not in it: it is that
//! of the line, now.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use taskq::Timestamp;

/// How long a session is good, unless it is set.
pub(crate) const AGE: Duration = Duration::from_secs(12 * 3600);
/// What the form of a session begins with.
const FORM: &str = "s1";
/// Without a file of its own the key is made of the owner's line alone.
const NO_KEY: &[u8] = b"taskq gateway session";

/// Who logs in, by which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Listed {
    /// In the file of users.
    User,
    /// In the file of tokens.
    Token,
}

/// A session, as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Which one it is.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) name: String,
    pub(crate) listed: Listed,
    /// Until when it is good, in milliseconds.
    until: i64,
}

impl Session {
    pub(crate) fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.until)
    }
}

/// What signs sessions, and those that were ended before their time.
#[derive(Clone)]
pub(crate) struct Sessions {
    key: Arc<hmac::Key>,
    pub(crate) age: Duration,
    ended: Arc<Mutex<HashMap<String, i64>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::keyless(AGE)
    }
}

impl Sessions {
    pub(crate) fn new(key: &[u8], age: Duration) -> Self {
        Self {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)),
            age,
            ended: Arc::default(),
        }
    }

    /// Signed with the owner's line alone.
    pub(crate) fn keyless(age: Duration) -> Self {
        Self::new(NO_KEY, age)
    }

    /// A new session of somebody whose line has this secret part.
    pub(crate) fn begin(&self, name: &str, listed: Listed, line: &[u8]) -> (Session, String) {
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        let session = Session {
            id: uuid::Uuid::new_v4().simple().to_string(),
            name: name.to_owned(),
            listed,
            until: Timestamp::now().as_millis().saturating_add(age),
        };
        // Plain fields: this cannot fail.
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).unwrap_or_default());
        let mark = self.mark(&session, line, &["session", &body]);
        (session, format!("{FORM}.{body}.{mark}"))
    }

    /// What a cookie says, before it is known whether it is true.
    pub(crate) fn claim(cookie: &str) -> Option<Session> {
        let (form, rest) = cookie.split_once('.')?;
        let (body, _) = rest.split_once('.')?;
        if form != FORM {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
    }

    /// Whether what a cookie says is true, and still so.
    pub(crate) fn is_good(&self, session: &Session, line: &[u8], cookie: &str) -> bool {
        let Some((body, mark)) = cookie
            .split_once('.')
            .and_then(|(_, rest)| rest.split_once('.'))
        else {
            return false;
        };
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_mark(session, line, &["session", body], mark)
            && session.until > Timestamp::now().as_millis()
            && !ended.contains_key(&session.id)
    }

    /// What a page of this session sends with what it asks to be done: no other
    /// site knows it.
    pub(crate) fn csrf(&self, session: &Session, line: &[u8]) -> String {
        self.mark(session, line, &["csrf", &session.id])
    }

    pub(crate) fn is_csrf(&self, session: &Session, line: &[u8], token: &str) -> bool {
        self.is_mark(session, line, &["csrf", &session.id], token)
    }

    /// Ends a session before its time.
    pub(crate) fn end(&self, id: &str, until: Timestamp) {
        let now = Timestamp::now().as_millis();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now);
        if until.as_millis() > now {
            ended.insert(id.to_owned(), until.as_millis());
        }
    }

    fn key_of(&self, session: &Session, line: &[u8]) -> hmac::Key {
        let listed: &[u8] = match session.listed {
            Listed::User => b"user",
            Listed::Token => b"token",
        };
        let mut owner = hmac::Context::with_key(&self.key);
        for part in [listed, session.name.as_bytes(), line] {
            owner.update(&(part.len() as u64).to_be_bytes());
            owner.update(part);
        }
        hmac::Key::new(hmac::HMAC_SHA256, owner.sign().as_ref())
    }

    fn mark(&self, session: &Session, line: &[u8], parts: &[&str]) -> String {
        let text = parts.join("\0");
        let mark = hmac::sign(&self.key_of(session, line), text.as_bytes());
        URL_SAFE_NO_PAD.encode(mark)
    }

    /// In constant time.
    fn is_mark(&self, session: &Session, line: &[u8], parts: &[&str], mark: &str) -> bool {
        let text = parts.join("\0");
        URL_SAFE_NO_PAD.decode(mark).is_ok_and(|mark| {
            hmac::verify(&self.key_of(session, line), text.as_bytes(), &mark).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_good_in_every_replica_until_it_ends_or_its_owners_line_changes() {
        let (one, other) = (Sessions::new(b"key", AGE), Sessions::new(b"key", AGE));
        let (session, cookie) = one.begin("ada", Listed::User, b"line");
        assert_eq!(Sessions::claim(&cookie), Some(session.clone()));
        assert!(other.is_good(&session, b"line", &cookie));
        assert!(!other.is_good(&session, b"another line", &cookie));
        assert!(!Sessions::new(b"another key", AGE).is_good(&session, b"line", &cookie));
        let forged = Session {
            name: "bob".to_owned(),
            ..session.clone()
        };
        assert!(!other.is_good(&forged, b"line", &cookie));
        other.end(&session.id, session.until());
        assert!(!other.is_good(&session, b"line", &cookie));
        let (session, cookie) =
            Sessions::new(b"key", Duration::ZERO).begin("ada", Listed::User, b"line");
        assert!(!one.is_good(&session, b"line", &cookie));
    }

    #[test]
    fn a_token_against_forgery_is_one_sessions() {
        let sessions = Sessions::default();
        let (ada, _) = sessions.begin("ada", Listed::User, b"line");
        let (later, _) = sessions.begin("ada", Listed::User, b"line");
        let token = sessions.csrf(&ada, b"line");
        assert!(sessions.is_csrf(&ada, b"line", &token));
        assert!(!sessions.is_csrf(&later, b"line", &token));
        assert!(!sessions.is_csrf(&ada, b"line", ""));
    }

    #[test]
    fn what_is_no_session_is_none() {
        for bad in ["", "s1", "s1.", "s1..", "s1.e30.x", "s2.e30.x", "s1.!.!"] {
            assert_eq!(Sessions::claim(bad), None, "{bad}");
        }
    }
}
