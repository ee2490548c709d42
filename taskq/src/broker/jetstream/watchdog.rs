//! Noticing that a consumer gives nothing although there is something.
//!
//! Silence alone is no fault: a queue may be empty. So when a worker with
//! room has got nothing for a while, the server is asked what it has. If
//! there is something, the worker first asks on a new subscription, and if
//! that does not help, the consumer is made anew: what it had given out is
//! given again, which costs a run more and loses nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer;
use tokio::sync::watch;

use super::JetStream;
use super::flow::HeldBack;
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::broker::{Lock, Operate as _, Pulse};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind};
use crate::time::Timestamp;

/// How long a worker with room goes without a message before the server is
/// asked, and between one measure and the next.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_secs(2);

/// What the watchdog and a worker's intake tell each other.
pub(super) struct Watched {
    /// Grows when the worker is to subscribe anew.
    pub(super) rebinds: watch::Receiver<u64>,
    /// The queues that the worker could not take more of.
    pub(super) held_back: Arc<HeldBack>,
}

/// What a queue's stream and consumers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// There is nothing to give, or it may not be given now.
    Idle,
    /// There is something, and it does not come.
    Wedged,
}

impl JetStream {
    /// Watches over the consumers of a worker for as long as it has its
    /// pulse.
    pub(super) fn watch_consumers(
        &self,
        queues: &[String],
        lease: Duration,
        pulse: Arc<Pulse>,
    ) -> Watched {
        let (rebind, rebinds) = watch::channel(0);
        let held_back = Arc::<HeldBack>::default();
        let watchdog = Watchdog {
            broker: self.me.clone(),
            queues: queues.to_vec(),
            lease,
            pulse: Arc::downgrade(&pulse),
            held_back: Arc::clone(&held_back),
            rebind,
        };
        drop(pulse);
        tokio::spawn(watchdog.watch());
        Watched { rebinds, held_back }
    }

    async fn queue_health(&self, queue: &str) -> Result<Health> {
        let names = &self.layout.names;
        let failed = |error: crate::error::BoxError| {
            Error::new(
                ErrorKind::Unavailable,
                format!("asking how queue {queue} does failed: {error}"),
            )
        };
        let stream = names.queue_stream(queue);
        let mut accounted = 0;
        for priority in PRIORITIES {
            let consumer = self
                .layout
                .js
                .get_consumer_from_stream::<consumer::pull::Config, _, _>(
                    Namespace::consumer(priority),
                    &stream,
                )
                .await
                .map_err(|error| failed(error.into()))?;
            let info = consumer.cached_info();
            if info.paused {
                return Ok(Health::Idle);
            }
            let full = info.config.max_ack_pending > 0
                && info.num_ack_pending as i64 >= info.config.max_ack_pending;
            if info.num_pending > 0 && !full {
                return Ok(Health::Wedged);
            }
            accounted += info.num_pending + info.num_ack_pending as u64;
        }
        let messages = self.count_messages(queue).await?;
        // What no consumer will give, and none has given out, is stuck
        // (a purge by subject does that: docs/architecture.md, "Choices").
        Ok(if messages > accounted {
            Health::Wedged
        } else {
            Health::Idle
        })
    }

    /// Makes the consumers of a queue anew; one worker at a time.
    async fn remake_consumers(&self, queue: &str, lease: Duration) -> Result<()> {
        let lock = Lock {
            key: format!("remake.{queue}"),
            window: Some(PATIENCE),
            replace: false,
        };
        let me = crate::message::TaskId::from(format!("{}-{}", self.origin, fastrand::u64(..)));
        if self.acquire(&lock, &me).await?.is_some() {
            return Ok(());
        }
        tracing::error!(
            queue,
            "messages wait and are not given; making the queue's consumers anew (what they had \
             given out runs again)"
        );
        let stream = self.layout.names.queue_stream(queue);
        for priority in PRIORITIES {
            let name = Namespace::consumer(priority);
            let removed = self.layout.js.delete_consumer_from_stream(&name, &stream);
            self.denials
                .or_denied(&[&api::consumer_delete(&stream, &name)], removed)
                .await
                .map_err(|denial| denial.into_error(&format!("removing consumer {name}")))?
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("removing consumer {name} of {stream} failed: {error}"),
                    )
                    .with_source(error)
                })?;
            self.layout.ensure_consumer(queue, priority, lease).await?;
        }
        self.tell(
            Event {
                queue: Some(queue.to_owned()),
                ..Event::new(EventKind::ConsumerMended, Timestamp::now())
            }
            .with("message", "messages waited and were not given"),
        );
        Ok(())
    }
}

struct Watchdog {
    broker: Weak<JetStream>,
    queues: Vec<String>,
    lease: Duration,
    pulse: Weak<Pulse>,
    held_back: Arc<HeldBack>,
    rebind: watch::Sender<u64>,
}

impl Watchdog {
    async fn watch(self) {
        // How many measures were taken in vain, and when the last was.
        let mut measures = 0u32;
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.rebind.closed() => return,
            }
            let (Some(pulse), Some(broker)) = (self.pulse.upgrade(), self.broker.upgrade()) else {
                return;
            };
            let now = Instant::now();
            if pulse.hunger(now) < PATIENCE {
                measures = 0;
                continue;
            }
            if last.is_some_and(|at| now - at < PATIENCE) {
                continue;
            }
            last = Some(now);
            let mut wedged = false;
            for queue in &self.queues {
                // It was not asked for what it has.
                if self.held_back.was(queue, PATIENCE) {
                    continue;
                }
                match broker.queue_health(queue).await {
                    Ok(Health::Idle) => {}
                    Ok(Health::Wedged) if measures == 0 => wedged = true,
                    Ok(Health::Wedged) => {
                        wedged = true;
                        if let Err(error) = broker.remake_consumers(queue, self.lease).await {
                            tracing::warn!(%queue, "the consumers cannot be made anew yet: {error}");
                        }
                    }
                    Err(error) => tracing::debug!(%queue, "{error}"),
                }
            }
            if wedged {
                measures += 1;
                tracing::warn!(
                    "messages wait and none has come for {} s; subscribing anew",
                    pulse.hunger(now).as_secs()
                );
                self.rebind.send_modify(|count| *count += 1);
            } else {
                measures = 0;
            }
        }
    }
}
