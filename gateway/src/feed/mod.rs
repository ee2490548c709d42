//! What happens, told to many at once.
//!
//! One reader follows the streams for all who listen, and puts what it reads in
//! a ring of bounded size, a batch at a time. Who listens takes from the ring at
//! its own pace. Who is so slow that the ring has gone round is let go, and goes
//! on later where it was: a place is a pair of places in the two streams that
//! events are read from, so any replica can go on from it.

mod batch;
mod ear;
mod past;
mod place;
mod ring;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use taskq::Client;
use taskq::admin::{self, EventFilter, Source};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::batch::{Batch, Item};
pub(crate) use self::ear::{Ear, Silence};
pub(crate) use self::place::Place;
use self::ring::{InUse, Ring};

/// How long events are gathered, to be told together. What comes after a
/// silence is told at once.
const GATHER: Duration = Duration::from_millis(50);
/// The most records that are told together.
const TOGETHER: usize = 256;
/// What is told together is at most such a part of the ring, or one record: it
/// is held for each who is being told it, whatever the ring has let go.
const PART: usize = 8;
/// How often it is looked whether anybody listens.
const LOOK: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

const SOURCES: [Source; 2] = [Source::Events, Source::Outcomes];

/// The reader that all share, while anybody listens.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// The most bytes of JSON in the ring.
    most: usize,
    /// Held while the reader begins or ends.
    ring: tokio::sync::Mutex<Option<Arc<Ring>>>,
    closed: watch::Sender<bool>,
}

impl Feed {
    pub(crate) fn new(client: Client, most: usize) -> Self {
        Self(Arc::new(Inner {
            client,
            most,
            ring: tokio::sync::Mutex::default(),
            closed: watch::Sender::new(false),
        }))
    }

    /// Lets go of all who listen, for good.
    pub(crate) fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// Whether all have been let go of.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closed.subscribe()
    }

    /// Begins to listen: from now on, or behind a place.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub(crate) async fn listen(
        &self,
        filter: EventFilter,
        after: Option<Place>,
    ) -> taskq::Result<Ear> {
        let (ring, _used) = self.ring().await?;
        let closed = self.0.closed.subscribe();
        // Of many who come back at once, few need to read the streams.
        if let Some(after) = after
            && let Some(taker) = ring.take_behind(after)
        {
            return Ok(Ear::new(filter, after, None, taker, closed));
        }
        // First the ring, then the streams: what is in neither does not exist.
        let (taker, now) = ring.take();
        let Some(mut place) = after else {
            return Ok(Ear::new(filter, now, None, taker, closed));
        };
        let past = past::past(&self.0.client, &mut place).await?;
        Ok(Ear::new(filter, place, Some(past), taker, closed))
    }

    /// The ring that is being filled. It is in use as long as the second is
    /// there: else its reader could end before anybody takes from it.
    async fn ring(&self) -> taskq::Result<(Arc<Ring>, InUse)> {
        let mut current = self.0.ring.lock().await;
        if let Some(ring) = &*current {
            return Ok((Arc::clone(ring), ring.in_use()));
        }
        let mut place = Place::default();
        for source in SOURCES {
            let extent = admin::extent(&self.0.client, source).await?;
            place.pass(source, extent.last);
        }
        let ring = Ring::new(place, self.0.most);
        let used = ring.in_use();
        *current = Some(Arc::clone(&ring));
        tokio::spawn(fill(Arc::clone(&self.0), Arc::clone(&ring), place));
        Ok((ring, used))
    }
}

/// Fills the ring until nobody has listened for a while.
async fn fill(feed: Arc<Inner>, ring: Arc<Ring>, mut place: Place) {
    let read = |source| past::lasting(feed.client.clone(), source, place.of(source));
    let mut records = stream::select(read(Source::Events), read(Source::Outcomes));
    let mut look = tokio::time::interval(LOOK);
    // The first look would be at once.
    look.tick().await;
    let mut told = Instant::now();
    loop {
        let first = tokio::select! {
            first = records.next() => first,
            _ = look.tick() => {
                let mut current = feed.ring.lock().await;
                if ring.is_used() {
                    continue;
                }
                *current = None;
                return;
            }
        };
        let Some((source, record)) = first else {
            return;
        };
        let mut items = vec![Item::of(source, &record)];
        let mut size = items[0].size();
        let until = told + GATHER;
        while items.len() < TOGETHER && size < feed.most / PART {
            let next = tokio::select! {
                biased;
                next = records.next() => next,
                () = sleep_until(until) => break,
            };
            let Some((source, record)) = next else { break };
            let item = Item::of(source, &record);
            size += item.size();
            items.push(item);
        }
        let batch = Batch::new(place, items);
        place = batch.to;
        ring.push(batch);
        told = Instant::now();
    }
}
