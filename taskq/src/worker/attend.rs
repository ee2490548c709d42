//! What goes on beside the tasks: hearing wishes, giving up what is lost,
//! telling what runs, and seeing whether the worker gets on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::execute::Executor;
use super::slots::{Seat, Slots};
use crate::broker::{Notice, Pulse};
use crate::message::{CancelRequest, TaskMessage};
use crate::telemetry::Process;

/// An attempt's start is told when it has run for so long, and looked at so
/// often. What is over sooner is told by its outcome.
const TOLD_AFTER: Duration = Duration::from_millis(200);
/// Every so many looks the rest is seen to.
const SELDOM: u32 = 5;
/// The server has this long to show that it has the worker's requests: many
/// of its heartbeats.
const SILENCE: Duration = Duration::from_secs(15);
/// Outcomes may wait this long to be stored.
const UNSTORED: Duration = Duration::from_secs(15);

/// Goes on until it is dropped.
pub(super) struct Attending(JoinHandle<()>);

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn attend(
    executor: Arc<Executor>,
    slots: Arc<Slots>,
    mut notices: UnboundedReceiver<Notice>,
    mut lost: UnboundedReceiver<Vec<u64>>,
    pulse: Arc<Pulse>,
) -> Attending {
    Attending(tokio::spawn(async move {
        let mut looks = 0u32;
        let mut health = Health {
            executor: Arc::clone(&executor),
            pulse,
            settled: Instant::now(),
            confirmed: 0,
            usage: None,
        };
        let mut tick = tokio::time::interval(TOLD_AFTER);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(notice) = notices.recv() => match notice {
                    Notice::Cancel(wish) => {
                        executor.hear(&wish);
                        end_waiting(&executor, &slots, &wish);
                    }
                    Notice::Missed => {
                        let executor = Arc::clone(&executor);
                        tokio::spawn(async move { executor.look_for_wishes().await });
                    }
                },
                Some(leases) = lost.recv() => executor.lose(&leases),
                _ = tick.tick() => {
                    executor.speak(TOLD_AFTER);
                    if looks.is_multiple_of(SELDOM) {
                        health.look();
                        executor.wishes.tidy(Instant::now());
                        let executor = Arc::clone(&executor);
                        tokio::spawn(async move {
                            executor.client.0.broker.compare_clocks().await;
                        });
                    }
                    looks = looks.wrapping_add(1);
                }
            }
        }
    }))
}

/// Ends what somebody does not want, where it waits here for a slot or a seat:
/// it may be long before there is one.
fn end_waiting(executor: &Arc<Executor>, slots: &Slots, wish: &CancelRequest) {
    let unwanted = slots.take(|delivery| {
        TaskMessage::decode(&delivery.body).is_ok_and(|message| {
            message.id == wish.id && executor.wishes.of(&message.id, &message.labels).is_some()
        })
    });
    if let Some(delivery) = unwanted {
        let executor = Arc::clone(executor);
        // It does not run, and so needs neither.
        tokio::spawn(async move { executor.execute(delivery, Seat::Computing).await });
    }
}

/// Whether the worker gets on.
struct Health {
    executor: Arc<Executor>,
    pulse: Arc<Pulse>,
    /// When an end was last confirmed, or none was waited for.
    settled: Instant,
    /// How many were confirmed by then.
    confirmed: u64,
    /// What the process had taken at the last look.
    usage: Option<(Instant, Duration)>,
}

impl Health {
    fn look(&mut self) {
        let executor = &self.executor;
        let now = Instant::now();
        let cpu = Process::this().map(|process| process.cpu);
        if let (Some((at, before)), Some(cpu)) = (self.usage, cpu) {
            executor.stats.set_cpu(cpu.saturating_sub(before), now - at);
        }
        self.usage = cpu.map(|cpu| (now, cpu));
        let confirmed = executor.settler.confirmed();
        if executor.settler.unconfirmed() == 0 || confirmed != self.confirmed {
            self.settled = now;
            self.confirmed = confirmed;
        }
        let seconds = |duration: Duration| duration.as_secs();
        let (silence, unsure) = (self.pulse.silence(now), executor.leases.unconfirmed(now));
        let unstored = now.saturating_duration_since(self.settled);
        let trouble = if silence >= SILENCE {
            Some(format!(
                "NATS has not answered the requests for messages for {} s",
                seconds(silence)
            ))
        } else if executor.leases.is_failing() && unsure < executor.leases.term() {
            Some("NATS does not confirm leases; no messages are taken until it does".to_owned())
        } else if unsure >= executor.leases.term() {
            Some(format!(
                "NATS has not confirmed leases for {} s",
                seconds(unsure)
            ))
        } else if unstored >= UNSTORED {
            Some(format!(
                "NATS has not stored outcomes for {} s",
                seconds(unstored)
            ))
        } else {
            None
        };
        if trouble != executor.stats.trouble() {
            executor.stats.set_trouble(trouble);
        }
        executor.stats.set_refused(executor.settler.refused());
        let leases = &executor.leases;
        executor
            .stats
            .set_renewed(leases.renewed(), leases.oldest());
    }
}
