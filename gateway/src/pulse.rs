//! How the whole does: what is in the queues and since when, who works, and
//! what the doctor finds.
//!
//! It is looked at once for all who want to see it, often while somebody does
//! and seldom while nobody does, so that what a page shows costs NATS the same
//! however many look at it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use taskq::admin::pools::{self, Pool};
use taskq::admin::{self, Finding, WorkerDetail, WorkerInfo};
use taskq::{Client, QueueDepth, QueueSettings, TaskSettings, Timestamp};

use crate::index::{Index, Result, Trend, TrendQuery};

/// How often it is looked while somebody wants to see it.
const OFTEN: Duration = Duration::from_secs(2);
/// How often it is looked at the least: what grows is seen to grow only by
/// what it was before.
const SELDOM: Duration = Duration::from_secs(15);
/// For how long somebody who wanted to see it may want to again.
const WATCHED: Duration = Duration::from_secs(20);
/// For how long what was seen is kept.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// Of what is kept, one for each of these lengths.
const STEP: Duration = Duration::from_secs(10);
/// How long NATS may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many messages of a queue are looked at for the first that waits.
const MOST_LOOKED_AT: u64 = 64;
/// How many queues are looked at at once.
const AT_ONCE: usize = 8;
/// How old what workers say of themselves may be.
const WORKERS_FRESH: Duration = Duration::from_secs(2);
/// How old what the doctor found may be.
const DOCTOR_FRESH: Duration = Duration::from_secs(20);
/// How old what was counted may be at the most.
const TREND_FRESH: Duration = Duration::from_secs(30);
/// How many counts are kept.
const MOST_TRENDS: usize = 64;
/// How long somebody waits for what nobody has asked before.
const FIRST: Duration = Duration::from_millis(2500);

/// How the whole did at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The moment.
    pub(crate) at: Timestamp,
    /// The queues.
    pub(crate) queues: Vec<QueueDepth>,
    /// Since when the first that waits does, by queue; of those where it is
    /// known.
    pub(crate) oldest: BTreeMap<String, Timestamp>,
    /// What is set for queues.
    pub(crate) queue_settings: BTreeMap<String, QueueSettings>,
    /// What is set for task types.
    pub(crate) task_settings: BTreeMap<String, TaskSettings>,
    /// Whether more than the queues was looked at.
    pub(crate) whole: bool,
    /// Why nothing of this is known.
    pub(crate) trouble: Option<String>,
}

/// Something that was asked for, and how long ago.
#[derive(Debug)]
pub(crate) struct Known<T> {
    /// What was answered.
    pub(crate) what: Arc<T>,
    /// How old that is.
    pub(crate) age: Duration,
}

/// How the whole does.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    samples: Mutex<VecDeque<Arc<Sample>>>,
    /// When somebody last wanted to see it.
    wanted: AtomicI64,
    /// Woken when somebody wants to see it.
    wake: tokio::sync::Notify,
    /// Moves with what is seen.
    beat: AtomicU64,
    /// Moves with each look.
    looks: tokio::sync::watch::Sender<u64>,
    workers: Kept<Vec<WorkerInfo>>,
    details: Kept<Vec<WorkerDetail>>,
    pools: Kept<Vec<Pool>>,
    doctor: Kept<Vec<Finding>>,
    trends: Mutex<HashMap<TrendQuery, (Instant, Arc<Trend>)>>,
}

impl Pulse {
    /// Begins to look, until it is dropped.
    pub(crate) fn start(client: &Client) -> Self {
        let inner = Arc::new(Inner {
            client: client.clone(),
            samples: Mutex::default(),
            wanted: AtomicI64::new(0),
            wake: tokio::sync::Notify::new(),
            beat: AtomicU64::new(0),
            looks: tokio::sync::watch::Sender::new(0),
            workers: Kept::default(),
            details: Kept::default(),
            pools: Kept::default(),
            doctor: Kept::default(),
            trends: Mutex::default(),
        });
        tokio::spawn(look_on(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// How it does now. Who comes when nobody has looked for a while waits for
    /// a new look, but not for long.
    pub(crate) async fn now(&self) -> Arc<Sample> {
        self.want();
        let mut looks = self.0.looks.subscribe();
        let limit = tokio::time::Instant::now() + FIRST;
        loop {
            let last = self.0.samples().back().cloned();
            let fresh =
                |sample: &Sample| sample.whole && Timestamp::now().since(sample.at) < 2 * OFTEN;
            if let Some(last) = last.as_ref().filter(|last| fresh(last)) {
                return Arc::clone(last);
            }
            if tokio::time::timeout_at(limit, looks.changed())
                .await
                .is_err()
            {
                let unknown = || Arc::new(Sample::unknown("NATS has not answered yet"));
                return last.unwrap_or_else(unknown);
            }
        }
    }

    /// How it did at about a time before, as far as that was seen.
    pub(crate) fn before(&self, age: Duration) -> Option<Arc<Sample>> {
        let now = Timestamp::now();
        let samples = self.0.samples();
        let old = samples.iter().rev().find(|one| now.since(one.at) >= age);
        old.cloned()
    }

    /// How it did in the last minutes, the oldest first.
    pub(crate) fn past(&self) -> Vec<Arc<Sample>> {
        self.0.samples().iter().cloned().collect()
    }

    /// Somebody wants to see it, and will for a while.
    pub(crate) fn want(&self) {
        let now = Timestamp::now().as_millis();
        let before = self.0.wanted.swap(now, Ordering::Relaxed);
        if now - before > WATCHED.as_millis() as i64 {
            self.0.wake.notify_one();
        }
    }

    /// Moves whenever anything is seen to be otherwise.
    pub(crate) fn beat(&self) -> u64 {
        self.0.beat.load(Ordering::Relaxed)
    }

    /// Lets what was just changed be seen at once.
    pub(crate) fn look_again(&self) {
        self.0.doctor.forget();
        self.0.workers.forget();
        self.0.details.forget();
        self.0.pools.forget();
        self.0.wake.notify_one();
    }

    /// The living workers.
    pub(crate) async fn workers(&self) -> Option<Known<Vec<WorkerInfo>>> {
        let client = self.0.client.clone();
        let ask = async move { admin::workers(&client).await };
        self.0.workers.get(WORKERS_FRESH, ask).await
    }

    /// How the living workers do, those too that take nothing new.
    pub(crate) async fn details(&self) -> Option<Known<Vec<WorkerDetail>>> {
        let client = self.0.client.clone();
        let ask = async move { admin::worker_details(&client).await };
        self.0.details.get(WORKERS_FRESH, ask).await
    }

    /// The living pools of workers.
    pub(crate) async fn pools(&self) -> Option<Known<Vec<Pool>>> {
        let client = self.0.client.clone();
        let ask = async move { pools::list(&client).await };
        self.0.pools.get(WORKERS_FRESH, ask).await
    }

    /// How tasks went over a time, counted once for all who look: for longer
    /// where a part of the time is longer.
    pub(crate) async fn trend(&self, index: &Index, query: TrendQuery) -> Result<Arc<Trend>> {
        let fresh = (query.step / 10).clamp(OFTEN, TREND_FRESH);
        if let Some((at, trend)) = self.0.trends().get(&query)
            && at.elapsed() < fresh
        {
            return Ok(Arc::clone(trend));
        }
        let trend = Arc::new(index.trend(query.clone()).await?);
        let mut trends = self.0.trends();
        trends.retain(|_, (at, _)| at.elapsed() < TREND_FRESH);
        if trends.len() < MOST_TRENDS {
            trends.insert(query, (Instant::now(), Arc::clone(&trend)));
        }
        Ok(trend)
    }

    /// What the doctor finds.
    pub(crate) async fn doctor(&self) -> Option<Known<Vec<Finding>>> {
        let client = self.0.client.clone();
        let ask = async move { admin::doctor(&client).await };
        self.0.doctor.get(DOCTOR_FRESH, ask).await
    }
}

impl Sample {
    fn unknown(trouble: impl Into<String>) -> Self {
        Self {
            at: Timestamp::now(),
            queues: Vec::new(),
            oldest: BTreeMap::new(),
            queue_settings: BTreeMap::new(),
            task_settings: BTreeMap::new(),
            whole: true,
            trouble: Some(trouble.into()),
        }
    }

    /// What of it moves.
    fn same(&self, other: &Self) -> bool {
        self.queues == other.queues
            && self.queue_settings == other.queue_settings
            && self.task_settings == other.task_settings
            && self.trouble == other.trouble
    }
}

impl Inner {
    fn trends(&self) -> MutexGuard<'_, HashMap<TrendQuery, (Instant, Arc<Trend>)>> {
        self.trends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Arc<Sample>>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_watched(&self) -> bool {
        let wanted = Timestamp::from_millis(self.wanted.load(Ordering::Relaxed));
        Timestamp::now().since(wanted) < WATCHED
    }

    async fn look(&self) -> Sample {
        let looked = tokio::time::timeout(PATIENCE, self.ask()).await;
        match looked {
            Ok(Ok(sample)) => sample,
            Ok(Err(error)) => Sample::unknown(error.to_string()),
            Err(_) => Sample::unknown("NATS does not answer"),
        }
    }

    async fn ask(&self) -> taskq::Result<Sample> {
        let client = &self.client;
        let queues = client.queues().await?;
        let mut queue_settings = BTreeMap::new();
        let mut task_settings = BTreeMap::new();
        let mut oldest = BTreeMap::new();
        let whole = self.is_watched();
        if whole {
            let all = admin::queues::list(client).await?.into_iter();
            queue_settings = all.map(|one| (one.name, one.settings)).collect();
            let all = admin::tasks::list(client).await?.into_iter();
            task_settings = all.map(|one| (one.name, one.settings)).collect();
            // By a loop, for the compiler does not see through the closures.
            let mut looks = Vec::new();
            for queue in queues.iter().filter(|queue| queue.pending > 0) {
                looks.push(self.first_waiting(queue));
            }
            let found: Vec<_> = stream::iter(looks)
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            oldest = found.into_iter().flatten().collect();
        }
        Ok(Sample {
            at: Timestamp::now(),
            queues,
            oldest,
            queue_settings,
            task_settings,
            whole,
            trouble: None,
        })
    }

    async fn first_waiting(&self, queue: &QueueDepth) -> Option<(String, Timestamp)> {
        let mut filter = admin::QueueFilter::of(queue.queue.as_str());
        // Those that workers have are mostly the first.
        filter.most = (queue.running + 1).min(MOST_LOOKED_AT) as usize;
        let page = admin::queued(&self.client, filter).await.ok()?;
        let first = page.tasks.into_iter().find(|task| !task.given)?;
        Some((queue.queue.clone(), first.enqueued_at))
    }

    fn keep(&self, sample: Sample) {
        let mut samples = self.samples();
        let same = samples.back().is_some_and(|last| last.same(&sample));
        if !same {
            self.beat.fetch_add(1, Ordering::Relaxed);
        }
        // The last one is always there; those before it are a step apart.
        let mut behind = samples.iter().rev();
        if let (Some(last), Some(before)) = (behind.next(), behind.next())
            && last.at.since(before.at) < STEP
        {
            samples.pop_back();
        }
        samples.push_back(Arc::new(sample));
        let now = Timestamp::now();
        while samples
            .front()
            .is_some_and(|first| now.since(first.at) > KEPT)
        {
            samples.pop_front();
        }
    }
}

async fn look_on(pulse: Weak<Inner>) {
    loop {
        let Some(inner) = pulse.upgrade() else { return };
        let sample = inner.look().await;
        inner.keep(sample);
        inner.looks.send_modify(|looks| *looks += 1);
        let pause = if inner.is_watched() { OFTEN } else { SELDOM };
        // Not held while it waits, so that it ends with what it looks for.
        let woken = async {
            let limit = Instant::now() + pause;
            drop(inner);
            while Instant::now() < limit {
                let Some(inner) = pulse.upgrade() else { return };
                let left = limit.saturating_duration_since(Instant::now());
                let short = left.min(Duration::from_secs(1));
                let woken = tokio::time::timeout(short, inner.wake.notified()).await;
                if woken.is_ok() {
                    return;
                }
            }
        };
        woken.await;
    }
}

/// The last answer to a question that takes a while. While it is asked again,
/// those who look see the last one.
#[derive(Debug)]
struct Kept<T>(Arc<KeptInner<T>>);

#[derive(Debug)]
struct KeptInner<T> {
    last: Mutex<Option<(Instant, Arc<T>)>>,
    asking: tokio::sync::Mutex<()>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::new(KeptInner {
            last: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    fn last(&self) -> Option<Known<T>> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(at, what)| Known {
            what: Arc::clone(what),
            age: at.elapsed(),
        })
    }

    fn forget(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The last answer if it is fresh; else it is asked, and what was known
    /// before is good meanwhile.
    async fn get(
        &self,
        fresh: Duration,
        ask: impl Future<Output = taskq::Result<T>> + Send + 'static,
    ) -> Option<Known<T>> {
        let last = self.last();
        if last.as_ref().is_some_and(|last| last.age < fresh) {
            return last;
        }
        let kept = Self(Arc::clone(&self.0));
        let asked = tokio::spawn(async move {
            let Ok(_alone) = kept.0.asking.try_lock() else {
                // Somebody asks already, and this one sees what comes of it.
                let _other = kept.0.asking.lock().await;
                return;
            };
            match ask.await {
                Ok(what) => {
                    let mut last = kept.0.last.lock().unwrap_or_else(PoisonError::into_inner);
                    *last = Some((Instant::now(), Arc::new(what)));
                }
                Err(error) => tracing::debug!("asked in vain: {error}"),
            }
        });
        if last.is_some() {
            return last;
        }
        let _ = tokio::time::timeout(FIRST, asked).await;
        self.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_answered_is_seen_while_it_is_asked_again() {
        let kept = Kept::default();
        let known = kept.get(Duration::ZERO, async { Ok(1) }).await;
        assert_eq!(known.map(|known| *known.what), Some(1));
        let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
        let slow = async {
            let _ = wait.await;
            Ok(2)
        };
        let known = kept.get(Duration::ZERO, slow).await;
        assert_eq!(known.map(|known| *known.what), Some(1));
        go_on.send(()).unwrap();
        loop {
            let last = kept.last().map(|known| *known.what);
            if last == Some(2) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_what_is_being_asked_waits_for_the_same_answer() {
        let kept = Kept::default();
        let once = kept.get(Duration::from_secs(60), async { Ok(1) });
        let twice = kept.get(Duration::from_secs(60), async { Ok(2) });
        let (once, twice) = tokio::join!(once, twice);
        assert_eq!(*once.unwrap().what, *twice.unwrap().what);
    }
}
