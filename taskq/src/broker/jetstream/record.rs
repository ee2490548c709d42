//! A record on a subject of its own, changed by compare-and-set.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;

use super::JetStream;
use super::pipe::Refusal;
use super::publish::ttl;
use crate::broker::Denials;
use crate::error::{Error, ErrorKind};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a change is sent that is not acknowledged.
const TRIES: u32 = 3;

/// A change of a record that others may change too.
pub(super) struct Change<'a> {
    /// The stream that keeps it.
    pub(super) stream: &'a str,
    /// Its subject.
    pub(super) subject: &'a str,
    /// What it is to be.
    pub(super) body: Bytes,
    /// The sequence of what it is; 0 if it is not there.
    pub(super) expected: u64,
    /// How long it is to be there; none for ever.
    pub(super) live: Option<Duration>,
    /// What is done, for an error.
    pub(super) what: &'a str,
}

impl JetStream {
    /// Changes a record; false if another has changed it before.
    pub(super) async fn write_record(&self, change: Change<'_>) -> crate::Result<bool> {
        let Change {
            subject, expected, ..
        } = change;
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            expected.to_string(),
        );
        if let Some(live) = change.live {
            headers.insert(header::NATS_MESSAGE_TTL, ttl(live));
        }
        let mut unsure = false;
        for _ in 0..TRIES {
            let headers = Some(headers.clone());
            let sent = self
                .pipe
                .publish(subject.to_owned(), headers, change.body.clone());
            match sent.await {
                Ok(()) => return Ok(true),
                Err(refusal) if refusal.is_wrong_last_sequence() => {
                    if !unsure {
                        return Ok(false);
                    }
                    // An unanswered try may have stored this very body.
                    let now = self.last(change.stream, subject).await?;
                    return Ok(
                        now.is_some_and(|now| now.sequence > expected && now.body == change.body)
                    );
                }
                Err(Refusal::Unanswered) => unsure = true,
                Err(refusal) => return Err(refusal.into_error(change.what)),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("{} was not acknowledged; try again", change.what),
        ))
    }
}

/// Stores a record, if the last of its subject is still the expected one (0:
/// there is none), for as long as it is to live; tells its sequence.
pub(super) async fn store(
    client: &Client,
    denials: &Denials,
    subject: &str,
    body: Bytes,
    expected: Option<u64>,
    live: Option<Duration>,
) -> Result<u64, Refusal> {
    #[derive(Deserialize)]
    struct Ack {
        #[serde(default)]
        seq: u64,
        error: Option<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    let mut headers = HeaderMap::new();
    if let Some(expected) = expected {
        let expected = expected.to_string();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected);
    }
    if let Some(live) = live {
        headers.insert(header::NATS_MESSAGE_TTL, ttl(live));
    }
    let request = Request::new()
        .headers(headers)
        .payload(body)
        .timeout(Some(PATIENCE));
    let asked = client.send_request(subject.to_owned(), request);
    let answer = denials.or_denied(&[subject], asked).await;
    let answer = match answer.map_err(Refusal::Denied)? {
        Ok(answer) if answer.status == Some(StatusCode::NO_RESPONDERS) => {
            return Err(Refusal::NobodyThere);
        }
        Ok(answer) => answer,
        Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
            return Err(Refusal::NobodyThere);
        }
        Err(_) => return Err(Refusal::Unanswered),
    };
    match serde_json::from_slice(&answer.payload) {
        Ok(Ack { seq, error: None }) => Ok(seq),
        Ok(Ack {
            error: Some(error), ..
        }) => Err(Refusal::Server {
            code: error.err_code,
            text: error.description,
        }),
        Err(_) => Err(Refusal::Unanswered),
    }
}
