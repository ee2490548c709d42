//! The latest batches, for all who listen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::batch::Batch;
use super::place::Place;

/// A ring of bounded size. Who takes from it does so at its own pace, and is
/// told when what it was to take next is there no more.
#[derive(Debug)]
pub(super) struct Ring {
    kept: Mutex<Kept>,
    /// The number of the next batch.
    next: watch::Sender<u64>,
    /// The most bytes of JSON in it.
    most: usize,
}

#[derive(Debug)]
struct Kept {
    batches: VecDeque<Arc<Batch>>,
    /// The number of the first of them.
    first: u64,
    size: usize,
    /// The place behind the last.
    place: Place,
}

/// Somebody who takes from a ring.
#[derive(Debug)]
pub(super) struct Taker {
    ring: Arc<Ring>,
    next: u64,
    news: watch::Receiver<u64>,
}

/// Somebody is about to take from a ring.
#[derive(Debug)]
pub(super) struct InUse(#[expect(dead_code, reason = "it counts")] watch::Receiver<u64>);

/// What was to be taken is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Ring {
    pub(super) fn new(place: Place, most: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(Kept {
                batches: VecDeque::new(),
                first: 0,
                size: 0,
                place,
            }),
            next: watch::Sender::new(0),
            most,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it count as used until somebody takes from it.
    pub(super) fn in_use(&self) -> InUse {
        InUse(self.next.subscribe())
    }

    /// Whether anybody takes from it, or is about to.
    pub(super) fn is_used(&self) -> bool {
        self.next.receiver_count() > 0
    }

    pub(super) fn push(&self, batch: Batch) {
        let next = {
            let mut kept = self.kept();
            kept.place = batch.to;
            kept.size += batch.size();
            kept.batches.push_back(Arc::new(batch));
            while kept.size > self.most
                && kept.batches.len() > 1
                && let Some(oldest) = kept.batches.pop_front()
            {
                kept.size -= oldest.size();
                kept.first += 1;
            }
            kept.first + kept.batches.len() as u64
        };
        self.next.send_replace(next);
    }

    /// Begins to take: what comes now, and the place before it.
    pub(super) fn take(self: &Arc<Self>) -> (Taker, Place) {
        // Before the place is read: what comes in between is news.
        let news = self.next.subscribe();
        let kept = self.kept();
        let next = kept.first + kept.batches.len() as u64;
        (self.taker(next, news), kept.place)
    }

    /// Begins to take behind a place, if all that is behind it is at hand.
    pub(super) fn take_behind(self: &Arc<Self>, place: Place) -> Option<Taker> {
        let news = self.next.subscribe();
        let kept = self.kept();
        // A place that it has not reached may be of a stream that is gone.
        let first = kept.batches.front()?;
        if !place.has_passed(first.from) || !kept.place.has_passed(place) {
            return None;
        }
        let passed = kept
            .batches
            .partition_point(|batch| place.has_passed(batch.to));
        Some(self.taker(kept.first + passed as u64, news))
    }

    fn taker(self: &Arc<Self>, next: u64, news: watch::Receiver<u64>) -> Taker {
        Taker {
            ring: Arc::clone(self),
            next,
            news,
        }
    }
}

impl Taker {
    /// The next batch. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Arc<Batch>, Gone> {
        loop {
            if let Some(batch) = self.at_hand()? {
                return Ok(batch);
            }
            // The sender is in the ring, which this holds.
            let _ = self.news.changed().await;
        }
    }

    fn at_hand(&mut self) -> Result<Option<Arc<Batch>>, Gone> {
        self.news.mark_unchanged();
        let kept = self.ring.kept();
        let number = self.next.checked_sub(kept.first).ok_or(Gone)?;
        let batch = usize::try_from(number)
            .ok()
            .and_then(|number| kept.batches.get(number));
        let batch = batch.cloned();
        self.next += u64::from(batch.is_some());
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use taskq::admin::Source;

    use super::super::batch::Item;
    use super::*;

    #[tokio::test]
    async fn a_ring_is_used_by_who_takes_from_it_and_who_is_about_to() {
        let ring = Ring::new(place(0, 0), 1000);
        assert!(!ring.is_used());
        let used = ring.in_use();
        assert!(ring.is_used());
        let (taker, _) = ring.take();
        drop(used);
        assert!(ring.is_used());
        drop(taker);
        assert!(!ring.is_used());
    }

    fn place(events: u64, outcomes: u64) -> Place {
        Place { events, outcomes }
    }

    fn batch(from: Place, source: Source, sequence: u64) -> Batch {
        let events = Vec::new();
        let item = Item {
            source,
            sequence,
            events,
        };
        Batch::new(from, vec![item])
    }

    #[tokio::test]
    async fn who_takes_gets_each_batch_once_from_now_on_or_behind_a_place() {
        let ring = Ring::new(place(5, 7), 1000);
        ring.push(batch(place(5, 7), Source::Events, 6));
        let (mut now, at) = ring.take();
        assert_eq!(at, place(6, 7));
        ring.push(batch(place(6, 7), Source::Outcomes, 8));
        ring.push(batch(place(6, 8), Source::Events, 7));
        assert_eq!(now.next().await.unwrap().to, place(6, 8));
        assert_eq!(now.next().await.unwrap().to, place(7, 8));
        for (behind, next) in [
            (place(5, 7), place(6, 7)),
            (place(6, 7), place(6, 8)),
            // Ahead in one of the two: what is behind in the other is given.
            (place(7, 7), place(6, 8)),
            (place(6, 8), place(7, 8)),
        ] {
            let mut taker = ring.take_behind(behind).unwrap();
            assert_eq!(taker.next().await.unwrap().to, next, "{behind}");
        }
        for unknown in [place(4, 7), place(5, 6), place(8, 8), place(0, 9)] {
            assert!(ring.take_behind(unknown).is_none(), "{unknown}");
        }
        let mut end = ring.take_behind(place(7, 8)).unwrap();
        ring.push(batch(place(7, 8), Source::Events, 8));
        assert_eq!(end.next().await.unwrap().to, place(8, 8));
    }
}
