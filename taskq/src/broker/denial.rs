//! What the server does not let this user do.
//!
//! A refused request looks like one that takes too long: the server tells of
//! the refusal on the connection, not in an answer. So whoever awaits an
//! answer listens for a refusal of its subject too.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::names::{Act, right};
use crate::error::{Error, ErrorKind};

/// A refused operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) act: Act,
    pub(crate) subject: Arc<str>,
}

impl Denial {
    /// Reads `Permissions Violation for Publish to "subject"` and
    /// `Permissions Violation for Subscription to "subject"`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (before, rest) = text.split_once('"')?;
        let before = before.to_ascii_lowercase();
        if !before.contains("permissions violation") {
            return None;
        }
        let (subject, _) = rest.split_once('"')?;
        Some(Self {
            act: if before.contains("subscription") {
                Act::Subscribe
            } else {
                Act::Publish
            },
            subject: subject.into(),
        })
    }

    /// Whether this is the refusal to listen for answers that start so.
    pub(super) fn is_of_inbox(&self, prefix: &str) -> bool {
        let rest = self.subject.strip_prefix(prefix);
        self.act == Act::Subscribe && rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// The refusal as the library's error.
    pub(crate) fn into_error(self, what: &str) -> Error {
        let verb = match self.act {
            Act::Publish => "publish to",
            Act::Subscribe => "subscribe to",
        };
        let right = right(self.act, &self.subject);
        Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{what} failed: this NATS user may not {verb} `{}`, which is {}; {}",
                self.subject, right.of, right.mend
            ),
        )
    }
}

/// Tells the refusals of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Denials {
    told: broadcast::Sender<Denial>,
    /// What the subjects of answers start with.
    inbox: Arc<str>,
}

impl Denials {
    pub(super) fn new(inbox: Option<&str>) -> Self {
        Self {
            told: broadcast::Sender::new(256),
            inbox: inbox.unwrap_or("_INBOX").into(),
        }
    }

    /// Tells of one to whom it concerns.
    pub(super) fn tell(&self, denial: Denial) {
        // Nobody listening is fine.
        let _ = self.told.send(denial);
    }

    /// Does something that uses these subjects (or with a `>` at the end, those
    /// below) and then has an answer, or tells that the server refused one of
    /// them.
    pub(crate) async fn or_denied<T>(
        &self,
        subjects: &[&str],
        operation: impl Future<Output = T>,
    ) -> Result<T, Denial> {
        let mut told = self.told.subscribe();
        let refused = async {
            loop {
                match told.recv().await {
                    Ok(denial)
                        if subjects.iter().any(|one| covers(one, &denial.subject))
                            || denial.is_of_inbox(&self.inbox) =>
                    {
                        return denial;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            done = operation => Ok(done),
            denial = refused => Err(denial),
        }
    }
}

/// Whether a subject is this one, or below it.
fn covers(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('>') {
        Some(start) => subject.starts_with(start),
        None => pattern == subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_subject_is_found_in_the_servers_words() {
        let read = |text| Denial::read(text).map(|denial| (denial.act, denial.subject.to_string()));
        assert_eq!(
            read("nats: Permissions Violation for Publish to \"taskq.work.a\""),
            Some((Act::Publish, "taskq.work.a".to_owned()))
        );
        assert_eq!(
            read("Permissions Violation for Subscription to \"a.>\" using queue \"w\""),
            Some((Act::Subscribe, "a.>".to_owned()))
        );
        assert_eq!(read("Maximum Payload Violation"), None);
    }

    #[tokio::test]
    async fn only_the_own_refusals_end_a_wait() {
        let denials = Denials::new(None);
        let deny = |act, subject: &str| {
            let denial = Denial {
                act,
                subject: subject.into(),
            };
            denials.tell(denial);
        };
        let answered = denials.or_denied(&["a"], async {
            deny(Act::Publish, "b");
            tokio::task::yield_now().await;
            1
        });
        assert_eq!(answered.await, Ok(1));
        for subject in ["a", "_INBOX.x.*"] {
            let refused = denials.or_denied(&["a"], async {
                deny(Act::Subscribe, subject);
                std::future::pending::<()>().await;
            });
            assert_eq!(&*refused.await.unwrap_err().subject, subject);
        }
    }

    #[test]
    fn the_error_names_the_subject_the_role_and_the_mend() {
        for (act, subject, parts) in [
            (
                Act::Publish,
                "$JS.API.STREAM.CREATE.TASKQ_DONE",
                ["the operator's right to make streams", "taskq init"],
            ),
            (
                Act::Publish,
                "shop.done.x.1",
                ["the worker's right to record outcomes", "docs/security.md"],
            ),
            (
                Act::Subscribe,
                "_INBOX.abc.*",
                ["where answers come to", "TASKQ_INBOX_PREFIX"],
            ),
            (
                Act::Publish,
                "something.else",
                ["no right of any of taskq's roles", "docs/security.md"],
            ),
        ] {
            let denial = Denial {
                act,
                subject: subject.into(),
            };
            let error = denial.into_error("this");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            for part in parts.iter().chain([&subject]) {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }
}
