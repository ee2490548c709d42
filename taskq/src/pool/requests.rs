//! What operators ask of a pool.

use async_nats::{Client as Nats, Message, Subscriber};
use futures::StreamExt as _;

use crate::admin::pools::{Pool, PoolAnswer, PoolTarget, PoolWish};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::WorkerDeath;

/// What comes in for a pool, for as long as this lives.
#[derive(Debug)]
pub struct Requests {
    nats: Nats,
    all: Subscriber,
    own: Subscriber,
    wishes: Subscriber,
}

/// Something that a pool is asked, and answers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// How it does.
    Status(Asking),
    /// What an operator wishes of it.
    Wish(PoolWish, Bidding),
}

/// Somebody who asks how a pool does.
#[derive(Debug)]
pub struct Asking {
    nats: Nats,
    message: Message,
}

/// Somebody who wishes something of a pool.
#[derive(Debug)]
pub struct Bidding(Asking);

impl Requests {
    /// Listens to what is asked of the pool of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] in memory mode; [`ErrorKind::Closed`] when the
    /// connection is closed.
    pub async fn listen(client: &Client, pool: &str) -> Result<Self> {
        let Some(nats) = client.0.broker.nats() else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a pool starts processes, which share no memory: it needs NATS",
            ));
        };
        let names = &client.0.namespace;
        let subscribed = futures::try_join!(
            nats.subscribe(names.all_pools()),
            nats.subscribe(names.pool(pool)),
            nats.subscribe(names.pool_control(pool)),
        );
        let (all, own, wishes) = subscribed.map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })?;
        Ok(Self {
            nats: nats.clone(),
            all,
            own,
            wishes,
        })
    }

    /// The next request; none when the connection is closed for good.
    pub async fn next(&mut self) -> Option<Request> {
        loop {
            let (message, is_wish) = tokio::select! {
                message = self.all.next() => (message?, false),
                message = self.own.next() => (message?, false),
                message = self.wishes.next() => (message?, true),
            };
            let asking = Asking {
                nats: self.nats.clone(),
                message,
            };
            if !is_wish {
                return Some(Request::Status(asking));
            }
            match serde_json::from_slice(&asking.message.payload) {
                Ok(wish) => return Some(Request::Wish(wish, Bidding(asking))),
                // Of a newer version: whoever wishes it finds that nobody answers.
                Err(error) => tracing::warn!("a wish that this version does not know: {error}"),
            }
        }
    }
}

impl Asking {
    /// Tells how the pool does.
    pub async fn answer(self, pool: &Pool) {
        self.send(serde_json::to_vec(pool)).await;
    }

    async fn send(self, body: serde_json::Result<Vec<u8>>) {
        // Texts, numbers and times only: this does not fail. Who asked may be
        // gone.
        if let (Some(reply), Ok(body)) = (self.message.reply, body) {
            let _ = self.nats.publish(reply, body.into()).await;
        }
    }
}

impl Bidding {
    /// Tells what has changed.
    pub async fn done(self, before: PoolTarget, after: PoolTarget) {
        self.send(before, after, None).await;
    }

    /// Tells why nothing has.
    pub async fn refuse(self, now: PoolTarget, why: impl Into<String>) {
        self.send(now, now, Some(why.into())).await;
    }

    async fn send(self, before: PoolTarget, after: PoolTarget, refused: Option<String>) {
        let answer = PoolAnswer {
            before,
            after,
            refused,
        };
        self.0.send(serde_json::to_vec(&answer)).await;
    }
}

/// Stores what is known of a death: as an event, where the quarantine finds it.
/// Returns at once; it is stored when there is a connection.
pub fn record_death(client: &Client, death: &WorkerDeath) {
    client.0.broker.tell(death.to_event());
}
