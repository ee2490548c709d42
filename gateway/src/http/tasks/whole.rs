//! A task with all that is known of it: how it ended or where it is, and what
//! it was called with. Also where that is sensitive, for who may see it.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use taskq::admin::{self, DelayedFilter, Explanation, QueueFilter};
use taskq::{Arguments, Hidden};

use super::look::{Found, look};
use crate::http::access::{Caller, Role};
use crate::http::problem::Answer;
use crate::http::{Shared, dead_letter};
use crate::index::TaskSummary;

/// All that is known of a task.
pub(crate) struct Whole {
    /// How it ended, or where it is.
    pub(crate) found: Found,
    /// What the index knows of it, if it has not ended.
    pub(crate) summary: Option<TaskSummary>,
    /// Why it is where it is, if it has not ended.
    pub(crate) explained: Option<Explanation>,
    /// What it was called with.
    pub(crate) called: Called,
    /// What of it is sensitive.
    pub(crate) sensitive: Hidden,
}

/// All that is known of a task. What is sensitive of how it ended is left out;
/// of its arguments it has to be left out by who shows them.
pub(crate) async fn whole(shared: &Shared, id: &str) -> Answer<Whole> {
    gather(shared, id, false).await
}

/// The same for somebody who sees what is sensitive, which is recorded. It needs
/// the role of an operator.
pub(crate) async fn revealed(shared: &Shared, caller: &Caller, id: &str) -> Answer<Whole> {
    caller.need(Role::Operator)?;
    let whole = gather(shared, id, true).await?;
    if whole.sensitive.is_any() {
        let task = whole.task().unwrap_or_default();
        admin::revealed(&shared.client, &id.into(), task, &caller.by()).await;
    }
    Ok(whole)
}

async fn gather(shared: &Shared, id: &str, reveal: bool) -> Answer<Whole> {
    let mut whole = Whole {
        found: look(shared, id, None).await?,
        summary: None,
        explained: None,
        called: Called::default(),
        sensitive: Hidden::Nothing,
    };
    let mut wanted = Wanted {
        reveal,
        ..Wanted::default()
    };
    match &mut whole.found {
        Found::Ended(outcome) => {
            whole.sensitive = Hidden::of_outcome(&outcome.labels);
            if !reveal {
                outcome.hide();
            }
            wanted.dead = outcome.dead.is_some();
            if let Some(arguments) = outcome.arguments() {
                whole.called = (&arguments).into();
                return Ok(whole);
            }
        }
        Found::Expired(summary) => {
            whole.sensitive = Hidden::of_outcome(&summary.labels);
            wanted.dead = summary.dead.is_some();
        }
        Found::Live(status) => {
            wanted.put_off = ["scheduled", "retrying"].contains(&status.to_string().as_str());
            whole.summary = shared.index.task(id.to_owned()).await?;
            whole.explained = admin::explain(&shared.client, id).await.ok();
            if let Some(known) = &whole.summary {
                whole.sensitive = Hidden::of_outcome(&known.labels);
                wanted.dead = known.dead.is_some();
            }
            wanted.queue = whole.queue().map(str::to_owned);
        }
    }
    whole.called = Called::find(shared, id, wanted).await;
    if let Some(hidden) = &whole.called.hidden {
        whole.sensitive = hidden.clone();
    }
    Ok(whole)
}

impl Whole {
    /// The name of the task, where it is known.
    pub(crate) fn task(&self) -> Option<&str> {
        match &self.found {
            Found::Ended(outcome) => Some(&outcome.task),
            Found::Expired(summary) => Some(&summary.task),
            Found::Live(_) => {
                let known = self.summary.as_ref().map(|known| known.task.as_str());
                known.or(self.explained.as_ref()?.task.as_deref())
            }
        }
    }

    /// The queue of one that has not ended, where it is known.
    fn queue(&self) -> Option<&str> {
        let known = self.summary.as_ref().map(|known| known.queue.as_str());
        known.or(self.explained.as_ref()?.queue.as_deref())
    }
}

/// Where what a task was called with may be.
#[derive(Default)]
struct Wanted {
    /// Whether it has a dead letter.
    dead: bool,
    /// Whether it waits for its time.
    put_off: bool,
    /// The queue that it is in.
    queue: Option<String>,
    /// Whether to see what is sensitive.
    reveal: bool,
}

/// What a task was called with, where that is still known.
#[derive(Default)]
pub(crate) struct Called {
    /// The arguments by position.
    pub(crate) args: Vec<Value>,
    /// The arguments by name.
    pub(crate) kwargs: Map<String, Value>,
    /// Whether any of this is known.
    pub(crate) known: bool,
    /// What of it is sensitive, where that is told with it.
    hidden: Option<Hidden>,
}

impl From<&Arguments> for Called {
    fn from(arguments: &Arguments) -> Self {
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let named = arguments.iter_named();
        Self {
            args: arguments.positional().map(value).collect(),
            kwargs: named
                .map(|(name, text)| (name.to_owned(), value(text)))
                .collect(),
            known: true,
            hidden: None,
        }
    }
}

impl Called {
    async fn find(shared: &Shared, id: &str, wanted: Wanted) -> Self {
        if wanted.dead
            && let Ok(letter) = dead_letter(shared, id).await
        {
            let hidden = letter.hidden();
            if let Some(message) = letter.message.as_deref() {
                return Self::of(message, hidden);
            }
        }
        if wanted.put_off {
            let filter = DelayedFilter {
                id: Some(id.into()),
                reveal: wanted.reveal,
                ..DelayedFilter::default()
            };
            if let Ok(found) = admin::delayed(&shared.client, filter).await
                && let Ok(Some(delayed)) = found.boxed().try_next().await
            {
                return Self {
                    hidden: Some(Hidden::of_outcome(&delayed.labels)),
                    args: delayed.args,
                    kwargs: delayed.kwargs,
                    known: true,
                };
            }
        }
        if let Some(queue) = &wanted.queue {
            let mut filter = QueueFilter::of(queue.as_str());
            filter.id = Some(id.into());
            filter.reveal = wanted.reveal;
            if let Ok(page) = admin::queued(&shared.client, filter).await
                && let Some(queued) = page.tasks.into_iter().next()
            {
                return Self {
                    hidden: Some(Hidden::of_outcome(&queued.labels)),
                    args: queued.args,
                    kwargs: queued.kwargs,
                    known: true,
                };
            }
        }
        Self::default()
    }

    fn of(message: &RawValue, hidden: Hidden) -> Self {
        let mut message: Value = serde_json::from_str(message.get()).unwrap_or_default();
        let args = message["args"].take();
        let kwargs = message["kwargs"].take();
        Self {
            args: args.as_array().cloned().unwrap_or_default(),
            kwargs: kwargs.as_object().cloned().unwrap_or_default(),
            known: true,
            hidden: Some(hidden),
        }
    }
}
