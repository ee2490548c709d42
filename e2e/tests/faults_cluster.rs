//! Faults of a NATS cluster of three, streams of three replicas, under load:
//! docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::schedules;
use taskq::{Client, ErrorKind, OutcomeState, TaskHandle};
use taskq_e2e::Program;
use taskq_e2e::checks::{assert_one_fire_each, fires, never_two_at_once};
use taskq_e2e::faults::{
    Actor, RECOVERY, client, consumer_leader, eventually, nats, stream_leader, working,
};
use taskq_e2e::history::{Expected, History, Report};
use taskq_e2e::script::{flaky, nap, turn};
use taskq_nats_server::{Cluster, NatsServer};
use tokio::task::JoinHandle;

const ACTOR: Actor = Actor(env!("CARGO_BIN_EXE_actor"));
const QUEUE: &str = "TASKQ_Q_default";
const DONE: &str = "TASKQ_DONE";

/// A cluster, two workers and a client.
struct Setting {
    cluster: Cluster,
    url: String,
    history: Arc<History>,
    client: Client,
    workers: Vec<Program>,
}

impl Setting {
    async fn new() -> Self {
        let cluster = NatsServer::builder().start_cluster(3).unwrap();
        cluster.wait_healthy(RECOVERY).unwrap();
        let (url, history) = (cluster.url(), Arc::new(History::new()));
        let client = client(&url).replicas(3).connect().await.unwrap();
        let worker = |name| {
            let mut command = ACTOR.worker(&url, &history, name);
            working(command.args(["--replicas", "3"]))
        };
        let workers = vec![worker("one"), worker("two")];
        Self {
            cluster,
            url,
            history,
            client,
            workers,
        }
    }

    /// The place of the node that leads a stream.
    async fn leader_of(&self, stream: &str) -> usize {
        let nats = nats(&self.url).await.unwrap();
        let name = eventually("a stream's leader", async || {
            stream_leader(&nats, stream).await
        });
        self.cluster.place(&name.await).unwrap()
    }

    /// The place of the node that leads the consumer of the busy lane.
    async fn leader_of_consumer(&self) -> usize {
        let nats = nats(&self.url).await.unwrap();
        let look = async || consumer_leader(&nats, QUEUE, "w_normal").await;
        let name = eventually("a consumer's leader", look).await;
        self.cluster.place(&name).unwrap()
    }

    /// Waits until so many more tasks are accepted and finished than now.
    async fn goes_on(&self, more: usize) {
        let accepted = self.history.count_accepted() + more;
        let finished = self.history.finishes(None).len() + more;
        eventually("the load goes on", async || {
            let goes_on = self.history.count_accepted() >= accepted
                && self.history.finishes(None).len() >= finished;
            goes_on.then_some(())
        })
        .await;
    }

    /// Waits until a schedule has fired so many times more.
    async fn ticks(&self, schedule: &str, more: usize) {
        let before = fires(&self.history, schedule).len();
        eventually("the schedule fires on", async || {
            let now = fires(&self.history, schedule).len();
            (now >= before + more).then_some(())
        })
        .await;
    }

    /// Ends the load, and checks the history.
    async fn check(&self, load: Load) -> Report {
        let longest = load.end(&self.history, &self.client).await;
        let report = self.history.check(&self.client, &self.url, RECOVERY).await;
        let mut finishes: Vec<u128> = self
            .history
            .finishes(None)
            .iter()
            .map(|n| n.micros)
            .collect();
        finishes.sort_unstable();
        let pause = finishes.windows(2).map(|two| two[1] - two[0]).max();
        println!(
            "no task was accepted for at most {longest:?}, none finished for at most {} ms; {report}",
            pause.unwrap_or(0) / 1000
        );
        if let (1.., Some(reason)) = self.history.refusals() {
            println!("the last refusal: {reason}");
        }
        for worker in &self.workers {
            assert!(taskq_e2e::is_alive(worker.pid()), "it needed no restart");
        }
        report
    }
}

/// Tasks that are sent, a few hundred a second at most, until it is ended.
struct Load {
    stop: Arc<AtomicBool>,
    /// The longest time without an accepted task, in milliseconds.
    longest: Arc<AtomicU64>,
    senders: Vec<JoinHandle<Vec<TaskHandle<u64>>>>,
}

impl Load {
    fn start(setting: &Setting) -> Self {
        let (stop, longest) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let last = Arc::new(std::sync::Mutex::new(Instant::now()));
        let senders = (0..8u64).map(|n| {
            let (stop, longest, last) = (stop.clone(), longest.clone(), last.clone());
            let (history, client) = (setting.history.clone(), setting.client.clone());
            tokio::spawn(async move {
                let mut handles = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let sent = history.send(&client, nap::call(n), Expected::Value(n.into()));
                    // A refusal is noted; the next call may go through.
                    if let Ok(handle) = sent.await {
                        handles.push(handle);
                        let mut last = last.lock().unwrap();
                        let pause = u64::try_from(last.elapsed().as_millis()).unwrap();
                        longest.fetch_max(pause, Ordering::SeqCst);
                        *last = Instant::now();
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                handles
            })
        });
        let senders = senders.collect();
        Self {
            stop,
            longest,
            senders,
        }
    }

    /// Stops sending, waits for every outcome as a producer would, and gives
    /// the longest time without an accepted task.
    async fn end(self, history: &History, client: &Client) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            for handle in sender.await.unwrap() {
                match handle.outcome().await {
                    Ok(outcome) => history.told(outcome),
                    Err(error) => {
                        // Lost, or only not told?
                        let record = client.handle::<u64>(handle.id().clone());
                        let record = record.outcome_timeout(Duration::from_secs(5)).await;
                        panic!("{error}; asked for again: {record:?}");
                    }
                }
            }
        }
        Duration::from_millis(self.longest.load(Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_13_the_leaders_of_the_stream_and_of_its_consumer_are_killed_under_load() {
    let mut it = Setting::new().await;
    repeated_in(&mut it, async |it| {
        let load = Load::start(it);
        it.goes_on(100).await;
        let stream = it.leader_of(QUEUE).await;
        it.cluster.node_mut(stream).kill().unwrap();
        it.goes_on(100).await;
        it.cluster.node_mut(stream).restart().unwrap();
        it.cluster.wait_healthy(RECOVERY).unwrap();
        let consumer = it.leader_of_consumer().await;
        it.cluster.node_mut(consumer).kill().unwrap();
        it.goes_on(100).await;
        it.cluster.node_mut(consumer).restart().unwrap();
        it.cluster.wait_healthy(RECOVERY).unwrap();
        it.check(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_14_all_nodes_are_restarted_one_after_the_other_under_load() {
    let mut it = Setting::new().await;
    repeated_in(&mut it, async |it| {
        let load = Load::start(it);
        for place in 0..3 {
            it.goes_on(50).await;
            it.cluster.node_mut(place).stop().unwrap();
            it.cluster.node_mut(place).restart().unwrap();
            it.cluster.wait_healthy(RECOVERY).unwrap();
        }
        it.goes_on(50).await;
        it.check(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_15_without_a_majority_an_enqueue_fails_with_a_reason_and_work_resumes_alone() {
    let mut it = Setting::new().await;
    repeated_in(&mut it, async |it| {
        let load = Load::start(it);
        it.goes_on(50).await;
        let left = it.leader_of(QUEUE).await;
        let lost = [(left + 1) % 3, (left + 2) % 3];
        for place in lost {
            it.cluster.node_mut(place).kill().unwrap();
        }
        let since = Instant::now();
        let call = nap::call(7u64);
        let refused = it
            .history
            .send(&it.client, call, Expected::Value(7.into()))
            .await;
        let (refused, took) = (refused.unwrap_err(), since.elapsed());
        println!("without a majority an enqueue failed after {took:?}: {refused}");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.is_retryable(), "{refused}");
        it.cluster.node_mut(lost[0]).restart().unwrap();
        let back = Instant::now();
        it.goes_on(50).await;
        println!(
            "with a majority again, work went on within {:?}",
            back.elapsed()
        );
        it.cluster.node_mut(lost[1]).restart().unwrap();
        it.cluster.wait_healthy(RECOVERY).unwrap();
        it.check(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_21_a_last_attempt_that_fails_in_a_failover_is_recorded_once() {
    const TASKS: usize = 30;
    let mut it = Setting::new().await;
    repeated_in(&mut it, async |it| {
        let before = it.history.starts(None).len();
        let calls = (0..TASKS).map(|_| flaky::call(1_000u32, 2_000u64).retries(1));
        let handles: Vec<_> = it.client.enqueue_many(calls).try_collect().await.unwrap();
        for handle in &handles {
            it.history.accepted(handle.id(), Expected::Failure);
        }
        eventually("all are at their last attempt", async || {
            let starts = it.history.starts(None);
            let last = starts[before..]
                .iter()
                .filter(|note| note.attempt == 2)
                .count();
            (last == TASKS).then_some(())
        })
        .await;
        let leader = it.leader_of(DONE).await;
        it.cluster.node_mut(leader).kill().unwrap();
        let ended = futures::stream::iter(&handles).then(TaskHandle::outcome);
        for outcome in ended.try_collect::<Vec<_>>().await.unwrap() {
            assert_eq!(outcome.state, OutcomeState::Failed);
            it.history.told(outcome);
        }
        it.cluster.node_mut(leader).restart().unwrap();
        it.cluster.wait_healthy(RECOVERY).unwrap();
        let report = it.history.check(&it.client, &it.url, RECOVERY).await;
        println!("{report}");
    })
    .await;
}

/// Those who fire schedules and give turns do it by what the cluster holds:
/// none of it is lost with a leader, and none of it happens twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_13_schedules_and_turns_outlive_the_leaders_of_their_streams() {
    const KEYS: usize = 10;
    let mut it = Setting::new().await;
    let mut round = 0;
    repeated_in(&mut it, async |it| {
        round += 1;
        let schedule = format!("tick{round}");
        let saving = it.client.schedule(&schedule, nap::call(20u64));
        saving.cron("* * * * * *").save().await.unwrap();
        let send = async |it: &Setting, part: u32| {
            for n in 0..KEYS * 10 {
                let key = format!("r{round}k{}", n % KEYS);
                let call = turn::call(&key, 30u64).id(format!("{key}.{part}.{n}"));
                let sent = it
                    .history
                    .send(&it.client, call, Expected::Value(30.into()));
                sent.await.unwrap();
            }
        };
        for (part, stream) in (0..).zip(["TASKQ_PLAN", "TASKQ_H_default", "TASKQ_STATE"]) {
            send(it, part).await;
            let leader = it.leader_of(stream).await;
            it.cluster.node_mut(leader).kill().unwrap();
            it.ticks(&schedule, 3).await;
            it.cluster.node_mut(leader).restart().unwrap();
            it.cluster.wait_healthy(RECOVERY).unwrap();
        }
        it.ticks(&schedule, 2).await;
        schedules::pause(&it.client, &schedule, "test", None)
            .await
            .unwrap();
        let report = it.history.check(&it.client, &it.url, RECOVERY).await;
        assert_one_fire_each(&fires(&it.history, &schedule), 1000);
        never_two_at_once(&it.history, &HashMap::new());
        println!("{report}");
    })
    .await;
}

/// Tries a fault as often as is asked for, in one cluster.
async fn repeated_in(it: &mut Setting, mut fault: impl AsyncFnMut(&mut Setting)) {
    for _ in 0..taskq_e2e::faults::repeats() {
        fault(it).await;
    }
}
