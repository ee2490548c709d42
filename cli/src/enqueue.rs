//! `taskq enqueue`: a task by its name.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use taskq::admin::{self, ArgumentCheck, WorkerInfo};
use taskq::{Backoff, Call, Client, Hidden, OnConflict, Priority, Untyped};
use taskq_producer::TaskReport;

use crate::{Common, describe, output, progress};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the task
    name: String,

    /// Arguments by position: a JSON array, such as '["ha", 3]'
    #[arg(long, value_name = "JSON", env = "TASKQ_ARGS", value_parser = positional)]
    args: Option<Positional>,

    /// Arguments by name: a JSON object, such as '{"text": "ha", "times": 3}'
    #[arg(long, value_name = "JSON", env = "TASKQ_KWARGS", value_parser = named)]
    kwargs: Option<Named>,

    /// Queue to send to
    #[arg(
        long,
        env = "TASKQ_QUEUE",
        value_name = "NAME",
        default_value = "default"
    )]
    queue: String,

    /// Goes before or after others of the queue: low, normal, high, critical
    #[arg(
        long,
        env = "TASKQ_PRIORITY",
        value_name = "PRIORITY",
        default_value_t = Priority::Normal
    )]
    priority: Priority,

    /// Wait for the turn of this key: the keys of a queue take turns [default: the task's own]
    #[arg(long, env = "TASKQ_TURN_KEY", value_name = "KEY")]
    turn_key: Option<String>,

    /// How many turns the key has, for one of others
    #[arg(long, env = "TASKQ_WEIGHT", value_name = "COUNT", requires = "turn_key", value_parser = clap::value_parser!(u32).range(1..=1000))]
    weight: Option<u32>,

    /// Start no sooner than this long from now
    #[arg(long, env = "TASKQ_DELAY", value_name = "TIME", value_parser = taskq::parse_duration)]
    delay: Option<Duration>,

    /// Make one run of a burst of calls, the last: it starts when no other came for this long
    #[arg(long, env = "TASKQ_DEBOUNCE", value_name = "TIME", value_parser = taskq::parse_duration)]
    debounce: Option<Duration>,

    /// Start the run of a burst no later than this long after its first call
    #[arg(long, env = "TASKQ_MAX_WAIT", value_name = "TIME", requires = "debounce", value_parser = taskq::parse_duration)]
    max_wait: Option<Duration>,

    /// Collect the items of calls into one, of so many at most; the task takes one array
    #[arg(
        long,
        env = "TASKQ_BATCH",
        value_name = "COUNT",
        requires = "within",
        conflicts_with = "debounce"
    )]
    batch: Option<usize>,

    /// Start the collected call no later than this long after its first item
    #[arg(long, env = "TASKQ_WITHIN", value_name = "TIME", requires = "batch", value_parser = taskq::parse_duration)]
    within: Option<Duration>,

    /// Which calls make a burst, or a batch, together [default: all of the task]
    #[arg(long, env = "TASKQ_BURST_KEY", value_name = "KEY")]
    burst_key: Option<String>,

    /// Id of the task: the same id sent twice is one task [default: a new one]
    #[arg(long, env = "TASKQ_ID", value_name = "ID")]
    id: Option<String>,

    /// Let it start, and end, no later than this long after it was sent or was due
    #[arg(long, env = "TASKQ_DEADLINE", value_name = "TIME", value_parser = taskq::parse_duration)]
    deadline: Option<Duration>,

    /// How many attempts may follow a failed one [default: none]
    #[arg(long, env = "TASKQ_RETRIES", value_name = "COUNT")]
    retries: Option<u32>,

    /// The waits between attempts, such as 'exponential(1s, max 5m)' or 'constant(10s)'
    #[arg(long, env = "TASKQ_BACKOFF", value_name = "BACKOFF")]
    backoff: Option<Backoff>,

    /// Until it has ended, an equal call is the same task
    #[arg(long, env = "TASKQ_UNIQUE", conflicts_with = "unique_for")]
    unique: bool,

    /// For this long, an equal call is the same task
    #[arg(long, env = "TASKQ_UNIQUE_FOR", value_name = "TIME", value_parser = taskq::parse_duration)]
    unique_for: Option<Duration>,

    /// What makes calls equal, in place of their arguments; unique until done, unless a time is
    /// set
    #[arg(long, env = "TASKQ_UNIQUE_KEY", value_name = "KEY")]
    unique_key: Option<String>,

    /// What to do when an equal call, or one of the same id, is there already: take that one, be
    /// refused, or cancel it and take its place
    #[arg(
        long,
        env = "TASKQ_ON_CONFLICT",
        value_name = "WHAT",
        value_enum,
        default_value_t = Conflict::Existing
    )]
    on_conflict: Conflict,

    /// Send the arguments whatever living workers tell of the task: they are not asked before
    #[arg(long, env = "TASKQ_NO_CHECK")]
    no_check: bool,

    /// Wait for the task to end, and print what it returned; a terminal shows how far it is
    #[arg(long, env = "TASKQ_WAIT")]
    wait: bool,

    /// How long to wait
    #[arg(
        long,
        env = "TASKQ_TIMEOUT",
        value_name = "TIME",
        default_value = "5m",
        value_parser = taskq::parse_duration
    )]
    timeout: Duration,

    /// Print one JSON object
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

/// What becomes of a call that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Conflict {
    Existing,
    Reject,
    Replace,
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Existing => Self::Existing,
            Conflict::Reject => Self::Reject,
            Conflict::Replace => Self::Replace,
        }
    }
}

type Raw = Box<RawValue>;

#[derive(Clone)]
pub(crate) struct Positional(Vec<Raw>);

#[derive(Clone)]
pub(crate) struct Named(BTreeMap<String, Raw>);

impl Positional {
    /// The values, in order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Raw> {
        self.0.iter()
    }
}

impl Named {
    /// The names and their values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&String, &Raw)> {
        self.0.iter()
    }
}

pub(crate) fn positional(text: &str) -> anyhow::Result<Positional> {
    serde_json::from_str(text)
        .map(Positional)
        .map_err(|error| anyhow!("this is not a JSON array: {error}; write it like [\"ha\", 3]"))
}

pub(crate) fn named(text: &str) -> anyhow::Result<Named> {
    serde_json::from_str(text).map(Named).map_err(|error| {
        anyhow!("this is not a JSON object: {error}; write it like {{\"text\": \"ha\"}}")
    })
}

pub(crate) async fn enqueue(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    let mut call = args.call();
    if !args.no_check {
        call = check(&client, &args.name, call).await?;
    }
    let since = Instant::now();
    let handle = call.enqueue(&client).await?;
    let id = handle.id().clone();
    if handle.is_existing() {
        eprintln!("task {id} was there already; this call is the same task");
    }
    if !args.json {
        output::say(&id)?;
    }
    let warning = async {
        if args.no_check {
            warn_of_unknown(&client, &args.name).await;
        }
    };
    tokio::pin!(warning);
    let mut report = if args.wait {
        let outcome = progress::outcome(&handle, args.timeout);
        tokio::pin!(outcome);
        // A task that has ended was known; one that waits may not be.
        let outcome = tokio::select! {
            outcome = &mut outcome => outcome,
            () = &mut warning => outcome.await,
        };
        TaskReport::waited(&args.name, args.as_json(), id, outcome)
    } else {
        TaskReport::sent(&args.name, args.as_json(), id)
    };
    report.ms = (since.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    if !args.wait {
        warning.await;
    }
    if args.json {
        output::json(&report)?;
    } else if let Some(result) = &report.result
        && report.error.is_none()
    {
        output::say(result.get())?;
    }
    if !report.is_good() {
        let why = report.error.as_deref().unwrap_or("no reason was recorded");
        match report.worker {
            Some(worker) => bail!("{} {} on {worker}: {why}", args.name, report.state),
            None => bail!("{why}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The call, if its arguments are what living workers take, with what is hidden
/// of it. A task that no worker knows is told, and may be sent all the same.
async fn check(client: &Client, task: &str, call: Call<Untyped>) -> anyhow::Result<Call<Untyped>> {
    let Ok(workers) = admin::workers(client).await else {
        // To be told by what is sent.
        return Ok(call);
    };
    let Some(kind) = admin::task_type(client, &workers, task).await? else {
        tell_unknown(task, &workers);
        return Ok(call);
    };
    let errors = ArgumentCheck::new(&kind)?.errors(&call);
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        bail!(
            "these arguments are not what task `{task}` takes: {}; `taskq tasks show {task}` tells \
             what it takes, and --no-check sends them all the same",
            errors.join("; ")
        );
    }
    let mut hidden = kind.definitions.iter().map(|one| one.detail.info.hidden());
    Ok(match hidden.find(Hidden::is_any) {
        Some(hidden) => call.hidden(&hidden),
        None => call,
    })
}

/// A typo is seen at once, and a worker that is not started yet is no error.
async fn warn_of_unknown(client: &Client, task: &str) {
    let Ok(workers) = admin::workers(client).await else {
        return;
    };
    let mut known = workers.iter().flat_map(|worker| &worker.tasks);
    if !known.any(|known| known.name == task) {
        tell_unknown(task, &workers);
    }
}

fn tell_unknown(task: &str, workers: &[WorkerInfo]) {
    let guess = describe::guess(task, workers);
    eprintln!("warning: no living worker knows `{task}`, so it waits for one that does; {guess}");
}

impl Args {
    fn call(&self) -> Call<Untyped> {
        let mut call = Call::named(&self.name)
            .queue(&self.queue)
            .priority(self.priority);
        for value in self.args.iter().flat_map(|args| &args.0) {
            call = call.positional(value);
        }
        for (name, value) in self.kwargs.iter().flat_map(|args| &args.0) {
            call = call.arg(name, value);
        }
        if let Some(key) = &self.turn_key {
            call = call.key(key.as_str());
        }
        if let Some(weight) = self.weight {
            call = call.weight(weight);
        }
        if let Some(delay) = self.delay {
            call = call.delay(delay);
        }
        let burst = self.burst_key.as_ref().unwrap_or(&self.name).as_str();
        if let Some(wait) = self.debounce {
            call = call.debounce(burst, wait);
        }
        if let Some(longest) = self.max_wait {
            call = call.max_wait(longest);
        }
        if let (Some(most), Some(within)) = (self.batch, self.within) {
            call = call.batch(burst, most, within);
        }
        if let Some(id) = &self.id {
            call = call.id(id.as_str());
        }
        if let Some(deadline) = self.deadline {
            call = call.deadline(deadline);
        }
        if let Some(retries) = self.retries {
            call = call.retries(retries);
        }
        if let Some(backoff) = self.backoff {
            call = call.backoff(backoff);
        }
        if self.unique {
            call = call.unique();
        }
        if let Some(window) = self.unique_for {
            call = call.unique_for(window);
        }
        if let Some(key) = &self.unique_key {
            call = call.unique_key(key);
        }
        call.on_conflict(self.on_conflict.into())
    }

    /// The arguments as they were given: an array, an object, or both.
    fn as_json(&self) -> Value {
        match (&self.args, &self.kwargs) {
            (Some(args), Some(kwargs)) => json!({ "args": args.0, "kwargs": kwargs.0 }),
            (Some(args), None) => json!(args.0),
            (None, Some(kwargs)) => json!(kwargs.0),
            (None, None) => json!({}),
        }
    }
}
