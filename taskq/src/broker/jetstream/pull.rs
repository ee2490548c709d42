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
use super::flow::Flow;
use super::gate::Attending;
use super::watchdog::Watched;
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::broker::rules::Snapshot;
use crate::broker::{
    Deliveries, Delivery, Leases, Pulse, Receipt, Room, Rules, Subscription, Turn,
};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Portions;
use crate::time::Timestamp;

/// How often the server tells that it still has a request for messages, at
/// most; a sixth of the lease, if that is less.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// For so many heartbeats the server keeps a request: the least that it
/// takes. To a worker that is frozen, or whose connection is dead and not
/// closed, it sends messages for as long, each of which waits for a lease
/// then.
const EXPIRES: u32 = 2;
/// After so many heartbeats without a word a request is made again.
const FORGOTTEN: u32 = 4;
/// A lane that gave a message within this time is likely to give another.
const RECENT: Duration = Duration::from_secs(1);
/// For so long after the connection came back the server may not know what
/// it has delivered before: it writes that to the disk lazily, and a crash
/// loses the last second or two.
const DOUBT: Duration = Duration::from_secs(30);
/// A lane with a backlog that was asked so long ago and has given nothing has
/// none any more.
const PROMPT: Duration = Duration::from_millis(20);
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
    pulse: Arc<Pulse>,
    heartbeat: Duration,
    /// When anything last came.
    heard: Instant,
    reconnects: watch::Receiver<u64>,
    /// Grows when a new subscription is to be made.
    rebinds: watch::Receiver<u64>,
    requests: u64,
    /// What is limited for all workers together.
    flow: Flow,
    /// Told when what is set changes.
    changes: watch::Receiver<Arc<Snapshot>>,
    /// Of which of its queues the worker wants nothing now.
    full: Vec<bool>,
    /// How the room is divided among queues; none if only priorities count.
    portions: Option<Portions>,
    /// This worker's part in who releases what waits for turns.
    gates: Attending,
    /// When the connection came back last: by this machine's clock, and by
    /// the server's.
    back: Option<(Instant, Timestamp)>,
}

/// One priority of one queue.
struct Lane {
    queue: Arc<str>,
    /// The place of the queue among the worker's.
    place: usize,
    priority: Priority,
    /// Where to ask for messages.
    subject: String,
    /// Asked for and not come yet.
    outstanding: usize,
    /// When it was last asked.
    asked: Instant,
    /// When anything last came: a message, or a sign of life.
    heard: Instant,
    /// When a message last came.
    gave: Option<Instant>,
    /// Whether more were waiting behind it.
    backlog: bool,
    /// Not to be asked again before: it is not there now.
    ask_after: Option<Instant>,
}

impl Lane {
    /// How much of the room this priority gets, against the others.
    fn weight(&self) -> usize {
        match self.priority {
            Priority::Critical => 8,
            Priority::High => 4,
            Priority::Normal => 2,
            Priority::Low => 1,
        }
    }

    /// Whether more is known to wait, and comes when it is asked for.
    fn wants(&self, now: Instant) -> bool {
        let slow = self.outstanding > 0 && now.saturating_duration_since(self.asked) > PROMPT;
        self.backlog && !slow
    }
}

impl Pulls {
    pub(super) async fn open(
        broker: Arc<JetStream>,
        subscription: &Subscription,
        leases: Arc<Leases>,
        pulse: Arc<Pulse>,
        watched: Watched,
        rules: Arc<Rules>,
        gates: Attending,
    ) -> Result<Self> {
        let client = broker.client.clone();
        let (inbox, messages) = subscribe(&client).await?;
        let names = &broker.layout.names;
        let queues = subscription.queues.iter();
        let shared: Vec<Arc<str>> = queues.map(|queue| queue.as_str().into()).collect();
        let mut lanes = Vec::new();
        let mut by_name = HashMap::new();
        // The most urgent first.
        for priority in PRIORITIES {
            for (place, queue) in shared.iter().enumerate() {
                by_name.insert(format!("{queue}.{}", priority.as_str()), lanes.len());
                lanes.push(Lane {
                    queue: Arc::clone(queue),
                    place,
                    priority,
                    subject: api::consumer_next(
                        &names.queue_stream(queue),
                        &Namespace::consumer(priority),
                    ),
                    outstanding: 0,
                    asked: Instant::now(),
                    heard: Instant::now(),
                    gave: None,
                    backlog: false,
                    ask_after: None,
                });
            }
        }
        let reconnects = broker.reconnects.subscribe();
        let flow = Flow::new(
            Arc::clone(&broker),
            &shared,
            Arc::clone(&leases),
            Arc::clone(&rules),
            watched.held_back,
        );
        Ok(Self {
            broker,
            client,
            inbox,
            messages,
            lanes,
            by_name,
            heartbeat: (leases.term() / 6).clamp(Duration::from_millis(500), HEARTBEAT),
            heard: Instant::now(),
            leases,
            pulse,
            reconnects,
            rebinds: watched.rebinds,
            gates,
            requests: 0,
            changes: rules.changes(),
            flow,
            full: vec![false; shared.len()],
            portions: subscription.weights.clone().map(Portions::new),
            back: None,
        })
    }

    /// Asks anew, on a new subscription.
    async fn rebind(&mut self) -> Result<()> {
        let (inbox, messages) = subscribe(&self.client).await?;
        self.inbox = inbox;
        // What may still come to the old one comes again when its lease
        // ends.
        self.messages = messages;
        for lane in &mut self.lanes {
            lane.outstanding = 0;
            lane.ask_after = None;
        }
        Ok(())
    }

    /// How many messages each lane may have under way.
    ///
    /// Lanes with a backlog divide the room by the weight of their priority,
    /// the most urgent first, so that little room goes to the urgent; one
    /// that got nothing for a while gets a place all the same. What is left
    /// goes to lanes that gave a message just now. Any other lane has a foot
    /// in the door, so that what comes to it is noticed at once.
    fn shares(&self, room: usize, now: Instant) -> Vec<usize> {
        let mut all = vec![0; self.lanes.len()];
        let mut spread = |room: usize, which: &dyn Fn(&Lane) -> bool| {
            let lanes = self.lanes.iter().enumerate();
            let (places, lanes): (Vec<usize>, Vec<&Lane>) =
                lanes.filter(|(_, lane)| which(lane)).unzip();
            for (place, share) in places.into_iter().zip(shares(&lanes, room, now)) {
                all[place] = share;
            }
        };
        let Some(portions) = &self.portions else {
            spread(room, &|lane| !self.full[lane.place]);
            return all;
        };
        // First among the queues, then among the lanes of each.
        let wants = self.wants(now);
        let divided = portions.divide(room, &wants);
        let busy = wants.contains(&true);
        for (queue, part) in divided.into_iter().enumerate() {
            if self.full[queue] {
                continue;
            }
            let part = match (wants[queue], busy) {
                (true, _) => part,
                // No more than a foot in the door.
                (false, true) => 1,
                (false, false) => room.div_ceil(wants.len()),
            };
            spread(part, &|lane| lane.place == queue);
        }
        all
    }

    /// Notes of which queues the worker wants nothing now.
    fn note_full(&mut self, room: &Room) {
        for lane in &self.lanes {
            self.full[lane.place] = room.is_full(&lane.queue);
        }
    }

    /// How many messages a lane may have under way, where its queue is limited.
    fn budget(&self, lane: &Lane, now: Instant) -> Option<usize> {
        let budget = self.flow.budget(lane.place, now)?;
        let lanes = self.lanes.iter().filter(|it| it.place == lane.place);
        let under_way = lanes.map(|it| it.outstanding).sum::<usize>();
        let mine = budget.saturating_sub(under_way - lane.outstanding);
        // Of a lane that gave nothing lately one is asked for, beyond what may
        // be: it may be urgent.
        Some(match (budget, lane.backlog) {
            (0, _) => 0,
            (_, true) => mine.max(1),
            (_, false) => mine.div_ceil(PRIORITIES.len()).max(1),
        })
    }

    /// Which queues are known to have more.
    fn wants(&self, now: Instant) -> Vec<bool> {
        let mut wants = vec![false; self.lanes.len() / PRIORITIES.len()];
        for lane in &self.lanes {
            wants[lane.place] |= !self.full[lane.place]
                && lane.wants(now)
                && self.flow.budget(lane.place, now) != Some(0);
        }
        wants
    }
    /// Asks every lane for its share of the room.
    async fn ask(&mut self, room: usize) {
        let now = Instant::now();
        self.flow.refresh();
        let limited = self.flow.any();
        if limited {
            self.flow.look(room, now);
        }
        // Who may not ask is not hungry.
        let may_ask = room > 0
            && self.lanes.iter().any(|lane| {
                !self.full[lane.place] && (!limited || self.budget(lane, now) != Some(0))
            });
        self.pulse.set_hungry(may_ask, now);
        if !may_ask {
            return;
        }
        let shares = self.shares(room, now);
        for (place, mut share) in shares.into_iter().enumerate() {
            if limited && let Some(budget) = self.budget(&self.lanes[place], now) {
                share = share.min(budget);
                if share == 0 {
                    continue;
                }
            }
            let lane = &mut self.lanes[place];
            if lane.outstanding * 2 > share
                || share == 0
                || lane.ask_after.is_some_and(|at| now < at)
            {
                continue;
            }
            let batch = (share - lane.outstanding).min(LARGEST_REQUEST);
            if batch == 0 {
                continue;
            }
            if self.lanes.iter().all(|lane| lane.outstanding == 0) {
                // Silence counts from the first request.
                self.heard = now;
            }
            let lane = &mut self.lanes[place];
            if lane.outstanding == 0 {
                lane.heard = now;
            }
            self.requests += 1;
            let request = format!(
                r#"{{"batch":{batch},"expires":{},"idle_heartbeat":{}}}"#,
                (self.heartbeat * EXPIRES).as_nanos(),
                self.heartbeat.as_nanos()
            );
            let reply = format!("{}.{place}.{}", self.inbox, self.requests);
            let sent = self
                .client
                .publish_with_reply(lane.subject.clone(), reply, request.into())
                .await;
            if sent.is_ok() {
                self.lanes[place].outstanding += batch;
                self.lanes[place].asked = now;
            }
        }
    }

    /// Something came. With a request open something comes with every
    /// heartbeat: when it did not, what comes now may be old.
    fn hear(&mut self, now: Instant) {
        let asked = self.lanes.iter().any(|lane| lane.outstanding > 0);
        let silent = now.saturating_duration_since(self.heard);
        if asked && silent > self.heartbeat * 2 {
            self.leases.stall(self.heard, now);
        }
        self.heard = now;
    }

    /// A delivery, or none for what only tells the state of a request.
    fn take(&mut self, message: Message, now: Instant) -> Option<Delivery> {
        self.hear(now);
        if let Some(status) = message.status {
            self.take_status(status, &message, now);
            return None;
        }
        let names = &self.broker.layout.names;
        let (lane, _) = names.parse_lane(&message.subject)?;
        let place = *self.by_name.get(lane)?;
        let ack = message.reply.as_ref()?.as_str();
        let told = read_ack_subject(ack)?;
        self.pulse.hear(now, true);
        if self.portions.is_some() {
            let (queue, wants) = (self.lanes[place].place, self.wants(now));
            if let Some(portions) = &mut self.portions {
                portions.took(queue, &wants);
            }
        }
        let lane = &mut self.lanes[place];
        lane.outstanding = lane.outstanding.saturating_sub(1);
        lane.heard = now;
        lane.gave = Some(now);
        lane.backlog = told.behind > 0;
        let address: Arc<str> = ack.into();
        let turn = names.parse_released(&message.subject).map(|(_, id)| {
            Arc::new(Turn {
                queue: Arc::clone(&lane.queue),
                id: id.into(),
            })
        });
        Some(Delivery {
            permit: None,
            unwanted: false,
            body: if message.payload.len() <= COPIED {
                Bytes::copy_from_slice(&message.payload)
            } else {
                message.payload
            },
            queue: Arc::clone(&lane.queue),
            priority: lane.priority,
            stored_at: told.stored_at,
            doubtful: self.back.is_some_and(|(at, back)| {
                now.saturating_duration_since(at) < DOUBT && told.stored_at <= back
            }),
            receipt: Receipt {
                lease: self.leases.hold(Arc::clone(&address), now),
                deliveries: told.deliveries,
                address,
                turn,
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
            self.pulse.hear(now, false);
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
        // Whatever waited has gone to others.
        lane.backlog &= unserved == Some(0);
        let text = message.description.as_deref().unwrap_or_default();
        let gone = status == StatusCode::NO_RESPONDERS
            || text.contains("Consumer Deleted")
            || text.contains("Stream Deleted")
            || text.contains("Leadership Change")
            || text.contains("Server Shutdown");
        if !gone {
            self.pulse.hear(now, false);
        }
        let Some(lane) = place.and_then(|place: usize| self.lanes.get_mut(place)) else {
            return;
        };
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

    /// Lets wait what is of a limited queue, and gives the rest.
    fn park(&mut self, taken: Vec<Delivery>) -> Vec<Delivery> {
        let mut rest = Vec::with_capacity(taken.len());
        for delivery in taken {
            let lane = self.lanes.iter().find(|lane| lane.queue == delivery.queue);
            match lane.map(|lane| lane.place) {
                Some(place) => rest.extend(self.flow.park(place, delivery)),
                None => rest.push(delivery),
            }
        }
        rest
    }

    /// Requests that the server no longer has are made again.
    fn check_life(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            if lane.outstanding > 0 && now.duration_since(lane.heard) > self.heartbeat * FORGOTTEN {
                tracing::debug!(queue = %lane.queue, "a lane has not been heard of; asking again");
                lane.outstanding = 0;
            }
        }
    }
}

impl Deliveries for Pulls {
    fn next(&mut self, room: Room) -> BoxFuture<'_, Option<Vec<Delivery>>> {
        Box::pin(async move {
            self.note_full(&room);
            let room = room.free;
            // With weights a lane that gives nothing is soon passed over.
            let look = match self.portions.is_some() && room > 0 {
                true => PROMPT * 2,
                false => Duration::from_millis(500),
            };
            loop {
                self.ask(room).await;
                let ready = self.flow.ready(room);
                if !ready.is_empty() {
                    return Some(ready);
                }
                let first = tokio::select! {
                    message = self.messages.next() => message?,
                    _ = self.reconnects.changed() => {
                        self.back = Some((Instant::now(), self.broker.clock.now()));
                        // A new connection knows nothing of our requests.
                        for lane in &mut self.lanes {
                            lane.outstanding = 0;
                        }
                        continue;
                    }
                    Ok(()) = self.rebinds.changed() => {
                        // Whoever waits may stop in the middle.
                        self.rebinds.mark_changed();
                        if let Err(error) = self.rebind().await {
                            tracing::warn!("cannot subscribe anew: {error}");
                        }
                        self.rebinds.mark_unchanged();
                        continue;
                    }
                    Ok(()) = self.changes.changed() => continue,
                    () = self.flow.changed() => continue,
                    () = tokio::time::sleep(look) => {
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
                if self.flow.any() {
                    taken = self.park(taken);
                    taken.extend(self.flow.ready(room));
                }
                if !taken.is_empty() {
                    return Some(taken);
                }
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let mut rest = self.flow.close();
            // What the server has sent already still comes; then it ends.
            if self.messages.drain().await.is_err() {
                return rest;
            }
            let limit = tokio::time::Instant::now() + Duration::from_secs(2);
            while let Ok(Some(message)) = tokio::time::timeout_at(limit, self.messages.next()).await
            {
                rest.extend(self.take(message, Instant::now()));
            }
            self.gates.leave().await;
            rest
        })
    }
}

/// How much of the room each of these lanes gets.
fn shares(lanes: &[&Lane], room: usize, now: Instant) -> Vec<usize> {
    let is_recent = |lane: &Lane| lane.gave.is_some_and(|at| now - at < RECENT);
    let waiting = || lanes.iter().filter(|lane| lane.backlog);
    let mut weight: usize = waiting().map(|lane| lane.weight()).sum();
    let mut left = room;
    let mut shares = vec![0; lanes.len()];
    for (lane, share) in lanes.iter().zip(&mut shares) {
        if lane.backlog {
            *share = (left * lane.weight()).div_ceil(weight);
            weight -= lane.weight();
            left -= *share;
            if *share == 0 && now - lane.heard > RECENT {
                *share = 1;
            }
        }
    }
    let recent = lanes.iter().filter(|lane| is_recent(lane)).count();
    let others = match (waiting().count(), recent) {
        (0, 0) => room.div_ceil(lanes.len()),
        (_, recent) => left.div_ceil(recent.max(1)).max(1),
    };
    for (lane, share) in lanes.iter().zip(&mut shares) {
        if !lane.backlog {
            *share = if recent == 0 || is_recent(lane) {
                others
            } else {
                1
            };
        }
    }
    shares
}

/// An inbox for messages.
async fn subscribe(client: &Client) -> Result<(String, Subscriber)> {
    let inbox = client.new_inbox();
    let messages = client
        .subscribe(format!("{inbox}.>"))
        .await
        .map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })?;
    Ok((inbox, messages))
}

/// What a message's ack subject tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// How many times it was delivered, this time included.
    deliveries: u32,
    stored_at: Timestamp,
    /// How many more wait in the lane.
    behind: u64,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
/// seq>.<time>.<pending>`, in newer servers with a domain and an account
/// before the stream.
fn read_ack_subject(subject: &str) -> Option<Told> {
    // No more of them count.
    let mut tokens = [""; 11];
    let mut found = 0;
    for (token, place) in subject.split('.').zip(&mut tokens) {
        *place = token;
        found += 1;
    }
    let first = match found {
        9 => 4,
        11 => 6,
        _ => return None,
    };
    let nanos: i64 = tokens.get(first + 3)?.parse().ok()?;
    Some(Told {
        deliveries: tokens.get(first)?.parse().ok()?,
        stored_at: Timestamp::from_millis(nanos / 1_000_000),
        behind: tokens.get(first + 4)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_ack_subject_are_read() {
        let short = "$JS.ACK.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.5";
        let long = "$JS.ACK._.hash.TASKQ_Q_default.w_normal.2.17.18.1700000000123456789.5.x";
        let expected = Some(Told {
            deliveries: 2,
            stored_at: Timestamp::from_millis(1_700_000_000_123),
            behind: 5,
        });
        assert_eq!(read_ack_subject(short), expected);
        assert_eq!(read_ack_subject(long), expected);
        assert_eq!(read_ack_subject("_INBOX.x"), None);
    }
}
