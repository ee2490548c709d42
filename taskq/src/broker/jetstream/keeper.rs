//! The lease thread's own connection.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;

use crate::broker::LeaseKeeper;
use crate::broker::connect::{ConnectOptions, Connection};
use crate::error::{BoxError, Error, ErrorKind, Result};

pub(super) struct Keeper {
    options: ConnectOptions,
    connection: Option<Connection>,
}

impl Keeper {
    pub(super) fn new(mut options: ConnectOptions) -> Self {
        options.name.push_str("-lease");
        Self {
            options,
            connection: None,
        }
    }
}

impl LeaseKeeper for Keeper {
    fn connect(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            if self.connection.is_none() {
                self.connection = Some(self.options.connect().await?);
            }
            Ok(())
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.connect().await?;
            let Some(connection) = &self.connection else {
                return Ok(());
            };
            // There and back again: what this connection needs.
            let client = &connection.client;
            let inbox = client.new_inbox();
            let mut echo = client
                .subscribe(inbox.clone())
                .await
                .map_err(|error| closed(error.into()))?;
            client
                .publish(inbox, Bytes::new())
                .await
                .map_err(|error| closed(error.into()))?;
            echo.next().await;
            Ok(())
        })
    }

    fn renew(&mut self, addresses: Vec<Arc<str>>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.connect().await?;
            let Some(connection) = &self.connection else {
                return Ok(());
            };
            let (client, denials) = (&connection.client, &connection.denials);
            // The last of each consumer asks for an answer. A consumer takes
            // what it is told in order, so that answer stands for all; a
            // flush would only prove that the bytes are on their way.
            let mut last: HashMap<&str, &str> = HashMap::new();
            for address in &addresses {
                if let Some(earlier) = last.insert(consumer(address), address) {
                    client
                        .publish(earlier.to_owned(), PROGRESS)
                        .await
                        .map_err(|error| closed(error.into()))?;
                }
            }
            let answers = last.into_values().map(|address| async move {
                let asked = client.request(address.to_owned(), PROGRESS);
                denials
                    .or_denied(&[address], asked)
                    .await
                    .map_err(|denial| denial.into_error("renewing a lease"))?
                    .map(drop)
                    .map_err(|error| {
                        Error::new(
                            ErrorKind::Unavailable,
                            format!("NATS does not answer: {error}"),
                        )
                        .with_source(error)
                    })
            });
            futures::future::try_join_all(answers).await.map(drop)
        })
    }
}

const PROGRESS: Bytes = Bytes::from_static(b"+WPI");

fn closed(error: BoxError) -> Error {
    Error::new(ErrorKind::Closed, "the lease connection is closed").with_source(error)
}

/// The part of an ack subject that names the stream and its consumer.
fn consumer(address: &str) -> &str {
    // What follows are five numbers, and in the longer form a token more.
    let mut dots = address.rmatch_indices('.').map(|(place, _)| place);
    match address.split('.').count() {
        9 => dots.nth(4),
        _ => dots.nth(5),
    }
    .map_or(address, |place| &address[..place])
}

#[cfg(test)]
mod tests {
    use super::consumer;

    #[test]
    fn addresses_of_one_consumer_are_told_by_their_start() {
        for (address, name) in [
            (
                "$JS.ACK.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.5",
                "$JS.ACK.TASKQ_Q_default.w_normal",
            ),
            (
                "$JS.ACK._.hash.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.5.x",
                "$JS.ACK._.hash.TASKQ_Q_default.w_normal",
            ),
        ] {
            assert_eq!(consumer(address), name);
        }
    }
}
