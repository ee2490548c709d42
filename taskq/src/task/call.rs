//! A typed, not yet sent invocation.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use taskq_syntax::{Backoff, Priority};

use super::{Task, Unique};
use crate::error::{Error, Result};
use crate::message::{Arguments, Gather, Hidden, Label, Labels, TaskId, labels};
use crate::time::Timestamp;

/// What a call of `Self` returns.
pub trait Returns {
    /// The type of the value.
    type Output: DeserializeOwned;
}

impl<T: Task> Returns for T {
    type Output = T::Output;
}

/// Stands for a task that is known by name only; it returns any JSON.
#[derive(Debug)]
pub enum Untyped {}

impl Returns for Untyped {
    type Output = serde_json::Value;
}

/// A call that is not sent yet: what to run, with what, and how. Setters
/// take the place of the task's defaults; `.enqueue(&client)` sends it.
///
/// ```
/// # use taskq::prelude::*;
/// # #[task] async fn send_email(to: String) {}
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let handle = send_email::call("ada@example.com")
///     .delay(10.minutes())
///     .unique_for(1.hour())
///     .retries(5)
///     .enqueue(&client)
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "a call does nothing until `.enqueue(&client).await`"]
pub struct Call<T> {
    /// Boxed: calls are passed on by value, many at a time.
    pub(crate) parts: Result<Box<CallParts>>,
    _task: PhantomData<fn() -> T>,
}

/// A call without its type.
#[derive(Debug)]
pub(crate) struct CallParts {
    pub(crate) task: Cow<'static, str>,
    pub(crate) id: Option<TaskId>,
    pub(crate) queue: Cow<'static, str>,
    pub(crate) priority: Priority,
    pub(crate) when: When,
    pub(crate) deadline: Option<Duration>,
    pub(crate) unique: Option<UniqueLock>,
    pub(crate) conflict: OnConflict,
    pub(crate) key: KeyBy,
    pub(crate) gather: Option<GatherBy>,
    pub(crate) labels: Labels,
    pub(crate) arguments: Arguments,
}

/// What the key of a call is, by which it waits for its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyBy {
    /// It has none, and waits for no turn.
    #[default]
    None,
    /// The task: all calls of it have the same.
    Task,
    /// The value of this argument, for this task.
    Argument(&'static str),
    /// This, for all tasks of the queue that have it.
    Text(String),
}

impl KeyBy {
    /// The key of a call of a task, if it has one. `params` are the task's
    /// arguments in their order, where some may be given by position.
    pub(crate) fn key(self, task: &str, arguments: &Arguments, params: &[&str]) -> Option<String> {
        match self {
            Self::None => None,
            Self::Text(key) => Some(key),
            Self::Task => Some(task.to_owned()),
            Self::Argument(name) => {
                let named = arguments.iter_named();
                let named = named.filter(|(other, _)| *other == name).last();
                let value = named.map(|(_, value)| value).or_else(|| {
                    let place = params.iter().position(|param| *param == name)?;
                    arguments.positional().nth(place)
                });
                let value = value.unwrap_or("null");
                // A text stands there as it is, anything else as JSON.
                let text: Option<String> = serde_json::from_str(value).ok();
                let value = text.as_deref().unwrap_or(value);
                Some(format!("{task}:{value}"))
            }
        }
    }
}

/// When a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    After(Duration),
    At(Timestamp),
}

/// What happens to a call that another one's uniqueness keeps from being a
/// task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnConflict {
    /// Its sender gets the handle of the other.
    #[default]
    Existing,
    /// It is refused, with
    /// [`ErrorKind::Duplicate`](crate::ErrorKind::Duplicate).
    Reject,
    /// It takes the other's place: the other is cancelled, whether it waits
    /// or runs.
    Replace,
}

/// How a call becomes one task with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatherBy {
    /// Calls of one key, task and queue are gathered.
    pub(crate) key: String,
    pub(crate) gather: Gather,
}

/// What keeps a second call from being a second task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueLock {
    /// Whose equals are the same task; the arguments where there is none.
    pub(crate) key: Option<String>,
    pub(crate) scope: Unique,
}

impl<T: Task> Call<T> {
    /// A call with these arguments and the task's defaults.
    pub fn new(args: T::Args) -> Self {
        let options = T::OPTIONS;
        let mut labels = Labels::default();
        if options.has_key() {
            options.write_limits(&mut labels);
        }
        options.write_sensitivity(&mut labels);
        let key = options.key_by();
        Self {
            parts: T::encode(args).map(|arguments| {
                Box::new(CallParts {
                    task: Cow::Borrowed(T::NAME),
                    id: None,
                    queue: Cow::Borrowed(options.queue),
                    priority: options.priority,
                    when: When::Now,
                    deadline: None,
                    conflict: OnConflict::Existing,
                    gather: None,
                    unique: options.unique.map(|scope| UniqueLock { key: None, scope }),
                    key,
                    labels,
                    arguments,
                })
            }),
            _task: PhantomData,
        }
    }

    /// The same call without its type, so that calls of several tasks go in
    /// one [`enqueue_many`](crate::Client::enqueue_many).
    pub fn untyped(self) -> Call<Untyped> {
        Call {
            parts: self.parts,
            _task: PhantomData,
        }
    }
}

impl Call<Untyped> {
    /// A call of a task that is known by name only, to queue `default`.
    pub fn named(task: impl Into<String>) -> Self {
        Self {
            parts: Ok(Box::new(CallParts {
                task: Cow::Owned(task.into()),
                id: None,
                queue: Cow::Borrowed("default"),
                priority: Priority::Normal,
                when: When::Now,
                deadline: None,
                conflict: OnConflict::Existing,
                gather: None,
                unique: None,
                key: KeyBy::None,
                labels: Labels::default(),
                arguments: Arguments::default(),
            })),
            _task: PhantomData,
        }
    }

    /// Adds an argument by name. A value without a JSON form is an error
    /// when the call is sent.
    pub fn arg<V: Serialize + ?Sized>(self, name: impl Into<String>, value: &V) -> Self {
        self.try_with(|parts| parts.arguments.push(name.into(), value))
    }

    /// Says what is hidden of the call, as its task type does
    /// ([`TaskInfo::hidden`](crate::admin::TaskInfo::hidden)). A worker that knows
    /// the task hides it without this, from its first attempt on.
    pub fn hidden(self, hidden: &Hidden) -> Self {
        self.with(|parts| {
            if let Some(label) = hidden.label() {
                parts.labels.set(labels::SENSITIVE, label.into_owned());
            }
        })
    }

    /// Adds the next argument by position.
    pub fn positional<V: Serialize + ?Sized>(self, value: &V) -> Self {
        self.try_with(|parts| parts.arguments.push_positional(value))
    }
}

impl<T> Call<T> {
    fn with(mut self, set: impl FnOnce(&mut CallParts)) -> Self {
        if let Ok(parts) = &mut self.parts {
            set(parts);
        }
        self
    }

    /// The first error is kept and told when the call is sent.
    fn try_with(mut self, set: impl FnOnce(&mut CallParts) -> Result<()>) -> Self {
        if let Ok(parts) = &mut self.parts
            && let Err(error) = set(parts)
        {
            self.parts = Err(error);
        }
        self
    }

    /// Names the message: 1 to 128 bytes of any text. The same id sent twice
    /// is one task, for as long as the first is waiting or running or has an
    /// outcome that is kept; in core mode, where nothing is kept, it is two.
    pub fn id(self, id: impl Into<TaskId>) -> Self {
        self.try_with(|parts| {
            let id = id.into();
            if id.as_str().is_empty() || id.as_str().len() > 128 {
                return Err(Error::invalid(format!(
                    "a task id is 1 to 128 bytes long, this one is {}; use a shorter one or its hash",
                    id.as_str().len()
                )));
            }
            parts.id = Some(id);
            Ok(())
        })
    }

    /// Sends to another queue.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.with(|parts| parts.queue = Cow::Owned(queue.into()))
    }

    /// Goes before or after others of the queue.
    pub fn priority(self, priority: Priority) -> Self {
        self.with(|parts| parts.priority = priority)
    }

    /// Starts no sooner than this long after it is sent, by this machine's
    /// clock. Core mode has no delays: sending fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|parts| parts.when = When::After(delay))
    }

    /// Starts no sooner than at this time: a [`Timestamp`] or a
    /// [`SystemTime`](std::time::SystemTime). As [`delay`](Self::delay).
    pub fn at(self, time: impl Into<Timestamp>) -> Self {
        self.with(|parts| parts.when = When::At(time.into()))
    }

    /// Makes one task of a burst of calls of this key: it starts when there
    /// has been no other for so long, with the arguments and options of the
    /// last. All calls of a burst give the handle of that task, and so its
    /// result. Once it is due, the next call begins another burst.
    ///
    /// The key is of this task and queue. A wait below 250 ms takes about so
    /// long in JetStream mode. A call that is debounced cannot be unique, put
    /// off otherwise or have an [`id`](Self::id). Core mode has no delays:
    /// sending fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// ```
    /// # use taskq::prelude::*;
    /// # #[task] async fn reindex(shop: String, revision: u64) {}
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let shop = "books";
    /// for revision in 1..=20 {
    ///     // One run, with revision 20.
    ///     reindex::call(shop, revision)
    ///         .debounce(shop, 2.seconds())
    ///         .max_wait(1.minute())
    ///         .enqueue(&client)
    ///         .await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn debounce(self, key: impl Into<String>, wait: Duration) -> Self {
        self.with(|parts| {
            let gather = Gather::Debounce {
                wait,
                max_wait: None,
            };
            parts.gather = Some(GatherBy {
                key: key.into(),
                gather,
            });
        })
    }

    /// However many calls follow each other, a burst that is
    /// [debounced](Self::debounce) starts no later than this after the first.
    pub fn max_wait(self, longest: Duration) -> Self {
        self.try_with(|parts| match &mut parts.gather {
            Some(GatherBy {
                gather: Gather::Debounce { max_wait, .. },
                ..
            }) => {
                *max_wait = Some(longest);
                Ok(())
            }
            _ => Err(Error::invalid(
                "`max_wait` is the longest wait of a debounced call; set `debounce` before it",
            )),
        })
    }

    /// Sends what is in this call, whose one argument is a list, as a part of
    /// a batch: the items of all calls of this key are one call of the task,
    /// when there are `max` of them, or `within` this time of the first. An
    /// item that is accepted is in exactly one call; a retry has the same
    /// items. All calls of a batch give the handle of its task, and so its
    /// result.
    ///
    /// The items of one call stay together: where they do not fit in the
    /// batch that waits, it is sent as it is, and they begin the next. The
    /// options are those of the batch's first call. A batch is at most as
    /// large as a message of the broker. It cannot be unique, put off
    /// otherwise or have an [`id`](Self::id). Core mode keeps nothing:
    /// sending fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// ```
    /// # use taskq::prelude::*;
    /// /// Writes many at once.
    /// #[task]
    /// async fn index(items: Vec<String>) -> usize {
    ///     items.len()
    /// }
    ///
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let item = "a book".to_owned();
    /// let handle = index::call(vec![item])
    ///     .batch("books", 100, 2.seconds())
    ///     .enqueue(&client)
    ///     .await?;
    /// println!("indexed with others: {}", handle.result().await?);
    /// # Ok(()) }
    /// ```
    pub fn batch(self, key: impl Into<String>, max: usize, within: Duration) -> Self {
        self.try_with(|parts| {
            if max == 0 {
                return Err(Error::invalid(
                    "a batch of at most 0 items is none; let it have 1 or more",
                ));
            }
            parts.gather = Some(GatherBy {
                key: key.into(),
                gather: Gather::Batch { max, within },
            });
            Ok(())
        })
    }

    /// A second call with the same arguments (or key) within this time is
    /// the same task, though it has ended: its sender gets the handle of the
    /// first. JetStream mode rounds it up to whole seconds. Core mode has no
    /// uniqueness: sending fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn unique_for(self, window: Duration) -> Self {
        self.with(|parts| parts.set_unique(Unique::For(window)))
    }

    /// A second call with the same arguments (or key), before the first has
    /// ended, is the same task.
    pub fn unique(self) -> Self {
        self.with(|parts| parts.set_unique(Unique::UntilDone))
    }

    /// What makes two calls the same, in place of the arguments. Unique
    /// until done, unless a time is set.
    pub fn unique_key(self, key: impl Into<String>) -> Self {
        self.with(|parts| {
            let scope = parts
                .unique
                .as_ref()
                .map_or(Unique::UntilDone, |lock| lock.scope);
            parts.unique = Some(UniqueLock {
                key: Some(key.into()),
                scope,
            });
        })
    }

    /// What happens when the call is kept from being a task by the uniqueness
    /// of another: its sender gets the handle of that one unless set.
    pub fn on_conflict(self, conflict: OnConflict) -> Self {
        self.with(|parts| parts.conflict = conflict)
    }

    /// How long after it was sent (or was due, if it is put off) the task may
    /// still start, and by when it must have ended, retries included. Past it
    /// a task that has not started ends as `expired`, without running; one
    /// that runs is stopped, and fails. By the server's clock.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|parts| parts.deadline = Some(deadline))
    }

    /// How many times a failed attempt is followed by another. An attempt that
    /// its worker did not survive is not a failed one: it is followed by
    /// another in any case.
    pub fn retries(self, retries: u32) -> Self {
        self.label(labels::MAX_RETRIES, retries)
    }

    /// The wait before each retry.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.label(labels::BACKOFF, backoff.to_string())
    }

    /// How long one attempt may take. Past it the attempt has failed; an
    /// `async` task is dropped, a blocking one has to look at
    /// [`Context::is_cancelled`](crate::Context::is_cancelled).
    pub fn timeout(self, timeout: Duration) -> Self {
        self.label(labels::TIMEOUT, timeout.as_secs_f64())
    }

    /// How long the outcome is kept; at most 3 days, in JetStream mode.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.label(labels::TTL, ttl.as_secs_f64())
    }

    /// The key by which the call waits for its turn, in place of what the
    /// task says: 1 to 512 bytes of any text. The keys of a queue take turns,
    /// so one of which many wait does not keep others waiting; and the limits
    /// that the task declares are those of the key, which other tasks of the
    /// queue may share. Core mode has no keys: sending fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn key(self, key: impl Into<String>) -> Self {
        self.try_with(|parts| {
            let key = key.into();
            if key.is_empty() || key.len() > 512 {
                return Err(Error::invalid(format!(
                    "a key is 1 to 512 bytes long, this one is {}; use a shorter one or its hash",
                    key.len()
                )));
            }
            parts.key = KeyBy::Text(key);
            Ok(())
        })
    }

    /// How many tasks of the call's key have a turn, for one of others: from
    /// 1, which it is unless set, to 1000. The last call of a key counts.
    pub fn weight(self, weight: u32) -> Self {
        self.label(labels::WEIGHT, weight.clamp(1, 1000))
    }

    /// Sets a label; the task sees it in its [`Context`](crate::Context),
    /// the outcome keeps it.
    pub fn label(self, name: impl Into<String>, value: impl Into<Label>) -> Self {
        self.with(|parts| parts.labels.set(name, value))
    }
}

impl CallParts {
    fn set_unique(&mut self, scope: Unique) {
        match &mut self.unique {
            Some(lock) => lock.scope = scope,
            None => self.unique = Some(UniqueLock { key: None, scope }),
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parts {
            Ok(parts) => parts.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}
