//! Taking messages: one inbox for all lanes, and as many asked for as the
//! worker has room for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use taskq_syntax::Priority;
use tokio::sync::watch;

use super::JetStream;
use crate::broker::names::{Namespace, PRIORITIES};
use crate::broker::{Deliveries, Delivery, Leases, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// How long the server keeps a request for messages.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often it tells that it still has the request.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A lane that gave a message within this time is asked for more than the
/// others.
const BUSY: Duration = Duration::from_secs(1);
/// The most messages asked for in one request.
const LARGEST_REQUEST: usize = 500;
/// A payload up to this size is copied, so that it does not keep the whole
/// network buffer that it came in.
const COPIED: usize = 8 * 1024;

/// The lanes of a worker.
pub(super) struct Pulls {
    broker: Arc<JetStream>,
    client: Client,
    inbox: String,
    messages: Subscriber,
    lanes: Vec<Lane>,
    by_name: HashMap<String, usize>,
    leases: Arc<Leases>,
    reconnects: watch::Receiver<u64>,
    requests: u64,
}

/// One priority of one queue.
struct Lane {
    queue: Arc<str>,
    priority: Priority,
    /// Where to ask for messages.
    subject: String,
    /// Asked for and not come yet.
    outstanding: usize,
    /// When anything last came: a message, or a sign of life.
    heard: Instant,
    /// When a message last came.
    gave: Option<Instant>,
    /// Not to be asked again before: it is not there now.
    ask_after: Option<Instant>,
}

impl Pulls {
    pub(super) async fn open(
        broker: Arc<JetStream>,
        queues: &[String],
        leases: Arc<Leases>,
    ) -> Result<Self> {
        let client = broker.client.clone();
        let inbox = client.new_inbox();
        let messages = client
            .subscribe(format!("{inbox}.>"))
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
            })?;
        let names = &broker.layout.names;
        let mut lanes = Vec::new();
        let mut by_name = HashMap::new();
        for queue in queues {
            let shared: Arc<str> = queue.as_str().into();
            for priority in PRIORITIES {
                by_name.insert(format!("{queue}.{}", priority.as_str()), lanes.len());
                lanes.push(Lane {
                    queue: Arc::clone(&shared),
                    priority,
                    subject: format!(
                        "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
                        names.queue_stream(queue),
                        Namespace::consumer(priority)
                    ),
                    outstanding: 0,
                    heard: Instant::now(),
                    gave: None,
                    ask_after: None,
                });
            }
        }
        let reconnects = broker.reconnects.subscribe();
        Ok(Self {
            broker,
            client,
            inbox,
            messages,
            lanes,
            by_name,
            leases,
            reconnects,
            requests: 0,
        })
    }

    /// Asks every lane for its share of the room.
    async fn ask(&mut self, room: usize) {
        if room == 0 {
            return;
        }
        let now = Instant::now();
        let is_busy = |lane: &Lane| lane.gave.is_some_and(|at| now - at < BUSY);
        let busy = self.lanes.iter().filter(|lane| is_busy(lane)).count();
        let lanes = self.lanes.len();
        for place in 0..lanes {
            let lane = &mut self.lanes[place];
            // A lane that gives gets the room; the others a foot in the
            // door, so that what comes to them is noticed at once.
            let share = match (busy, is_busy(lane)) {
                (0, _) => room.div_ceil(lanes),
                (busy, true) => room.div_ceil(busy),
                (_, false) => 1,
            };
            if lane.outstanding * 2 > share || lane.ask_after.is_some_and(|at| now < at) {
                continue;
            }
            let batch = (share - lane.outstanding).min(LARGEST_REQUEST);
            if batch == 0 {
                continue;
            }
            if lane.outstanding == 0 {
                lane.heard = now;
            }
            self.requests += 1;
            let request = format!(
                r#"{{"batch":{batch},"expires":{},"idle_heartbeat":{}}}"#,
                EXPIRES.as_nanos(),
                HEARTBEAT.as_nanos()
            );
            let reply = format!("{}.{place}.{}", self.inbox, self.requests);
            let sent = self
                .client
                .publish_with_reply(lane.subject.clone(), reply, request.into())
                .await;
            if sent.is_ok() {
                self.lanes[place].outstanding += batch;
            }
        }
    }

    /// A delivery, or none for what only tells the state of a request.
    fn take(&mut self, message: Message, now: Instant) -> Option<Delivery> {
        if let Some(status) = message.status {
            self.take_status(status, &message, now);
            return None;
        }
        let (queue, priority) = self.broker.layout.names.parse_work(&message.subject)?;
        let place = *self.by_name.get(&format!("{queue}.{priority}"))?;
        let ack = message.reply.as_ref()?.as_str();
        let (deliveries, stored_at) = read_ack_subject(ack)?;
        let lane = &mut self.lanes[place];
        lane.outstanding = lane.outstanding.saturating_sub(1);
        lane.heard = now;
        lane.gave = Some(now);
        let address: Arc<str> = ack.into();
        Some(Delivery {
            body: if message.payload.len() <= COPIED {
                Bytes::copy_from_slice(&message.payload)
            } else {
                message.payload
            },
            queue: Arc::clone(&lane.queue),
            priority: lane.priority,
            stored_at,
            receipt: Receipt {
                lease: self.leases.hold(Arc::clone(&address), now),
                deliveries,
                address,
            },
        })
    }

    fn take_status(&mut self, status: StatusCode, message: &Message, now: Instant) {
        let place = message
            .subject
            .strip_prefix(self.inbox.as_str())
            .and_then(|rest| rest.strip_prefix('.')?.split('.').next()?.parse().ok());
        let Some(lane) = place.and_then(|place: usize| self.lanes.get_mut(place)) else {
            return;
        };
        lane.heard = now;
        if status == StatusCode::IDLE_HEARTBEAT {
            return;
        }
        // The request is over; this many of it will not come.
        let unserved = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|count| count.as_str().parse::<usize>().ok());
        lane.outstanding = match unserved {
            Some(count) => lane.outstanding.saturating_sub(count),
            None => 0,
        };
        let text = message.description.as_deref().unwrap_or_default();
        let gone = status == StatusCode::NO_RESPONDERS
            || text.contains("Consumer Deleted")
            || text.contains("Stream Deleted")
            || text.contains("Leadership Change")
            || text.contains("Server Shutdown");
        if gone {
            lane.outstanding = 0;
            lane.ask_after = Some(now + Duration::from_millis(250));
            tracing::debug!(queue = %lane.queue, status = %status, "a lane is not there now: {text}");
            if status == StatusCode::NO_RESPONDERS || text.contains("Deleted") {
                self.rebuild(Arc::clone(&self.lanes[place.unwrap_or_default()].queue));
            }
        }
    }

    /// Makes a queue's stream and consumers again, should they be gone.
    fn rebuild(&self, queue: Arc<str>) {
        let (broker, lease) = (Arc::clone(&self.broker), self.leases.term());
        tokio::spawn(async move {
            broker.layout.forget();
            if let Err(error) = broker.layout.ensure_lanes(&queue, lease).await {
                tracing::debug!(%queue, "cannot make sure of the queue's consumers yet: {error}");
            }
        });
    }

    /// Requests that the server no longer has are made again.
    fn check_life(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            if lane.outstanding > 0 && now.duration_since(lane.heard) > HEARTBEAT * 3 {
                tracing::debug!(queue = %lane.queue, "a lane has not been heard of; asking again");
                lane.outstanding = 0;
            }
        }
    }
}

impl Deliveries for Pulls {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Option<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                self.ask(room).await;
                let first = tokio::select! {
                    message = self.messages.next() => message?,
                    _ = self.reconnects.changed() => {
                        // A new connection knows nothing of our requests.
                        for lane in &mut self.lanes {
                            lane.outstanding = 0;
                        }
                        continue;
                    }
                    () = tokio::time::sleep(Duration::from_millis(500)) => {
                        self.check_life(Instant::now());
                        continue;
                    }
                };
                let now = Instant::now();
                let mut taken: Vec<Delivery> = self.take(first, now).into_iter().collect();
                while taken.len() < 256
                    && let Some(Some(message)) = self.messages.next().now_or_never()
                {
                    taken.extend(self.take(message, now));
                }
                if !taken.is_empty() {
                    return Some(taken);
                }
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let mut rest = Vec::new();
            // What the server has sent already still comes; then it ends.
            if self.messages.drain().await.is_err() {
                return rest;
            }
            let limit = tokio::time::Instant::now() + Duration::from_secs(2);
            while let Ok(Some(message)) = tokio::time::timeout_at(limit, self.messages.next()).await
            {
                rest.extend(self.take(message, Instant::now()));
            }
            rest
        })
    }
}

/// How many times the message was delivered and when it was stored, from the
/// subject that acks it: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream
/// seq>.<consumer seq>.<time>.<pending>`, in newer servers with a domain and
/// an account before the stream.
fn read_ack_subject(subject: &str) -> Option<(u32, Timestamp)> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let first = match tokens.len() {
        9 => 4,
        11.. => 6,
        _ => return None,
    };
    let nanos: i64 = tokens.get(first + 3)?.parse().ok()?;
    Some((
        tokens.get(first)?.parse().ok()?,
        Timestamp::from_millis(nanos / 1_000_000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_ack_subject_are_read() {
        let short = "$JS.ACK.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.0";
        let long = "$JS.ACK._.hash.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.0.x";
        let expected = Some((2, Timestamp::from_millis(1_700_000_000_123)));
        assert_eq!(read_ack_subject(short), expected);
        assert_eq!(read_ack_subject(long), expected);
        assert_eq!(read_ack_subject("_INBOX.x"), None);
    }
}
