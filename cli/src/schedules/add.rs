//! Setting a schedule.

use std::process::ExitCode;
use std::time::Duration;

use taskq::admin::schedules;
use taskq::{Backoff, Call, Misfire, Overlap, Priority, Timestamp, Untyped};

use crate::enqueue::{Named, Positional, named, positional};
use crate::moment;
use crate::output;
use crate::queues::Who;

#[derive(clap::Args)]
pub(crate) struct AddArgs {
    /// Name of the schedule
    name: String,

    /// Name of the task that it runs
    task: String,

    #[command(flatten)]
    when: When,

    /// Time zone of the cron pattern, such as Europe/Berlin [default: UTC]
    #[arg(long, env = "TASKQ_TZ", value_name = "ZONE")]
    tz: Option<String>,

    /// No time before this moment: 2026-12-01T00:00:00Z, or so long from now
    #[arg(long, env = "TASKQ_START", value_name = "TIME", value_parser = moment::to_come)]
    start: Option<Timestamp>,

    /// No time after this moment
    #[arg(long, env = "TASKQ_END", value_name = "TIME", value_parser = moment::to_come)]
    end: Option<Timestamp>,

    /// What becomes of a fire while the one before runs: allow, skip, queue-one, replace
    #[arg(
        long,
        env = "TASKQ_OVERLAP",
        value_name = "POLICY",
        default_value = "allow"
    )]
    overlap: Overlap,

    /// What becomes of fires that were missed: skip, once, all(10m)
    #[arg(
        long,
        env = "TASKQ_MISFIRE",
        value_name = "POLICY",
        default_value = "once"
    )]
    misfire: Misfire,

    /// So long after its time a fire may start and is merely late
    #[arg(
        long,
        env = "TASKQ_MISFIRE_AFTER",
        value_name = "TIME",
        default_value = "1m",
        value_parser = taskq::parse_duration
    )]
    misfire_after: Duration,

    /// Spread the fires: each comes up to so long after its time
    #[arg(long, env = "TASKQ_JITTER", value_name = "TIME", value_parser = taskq::parse_duration)]
    jitter: Option<Duration>,

    /// Arguments by position: a JSON array, such as '["ha", 3]'
    #[arg(long, value_name = "JSON", env = "TASKQ_ARGS", value_parser = positional)]
    args: Option<Positional>,

    /// Arguments by name: a JSON object, such as '{"text": "ha", "times": 3}'
    #[arg(long, value_name = "JSON", env = "TASKQ_KWARGS", value_parser = named)]
    kwargs: Option<Named>,

    /// Queue that its fires go to
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

    /// Let a fire start, and end, no later than this long after it was due
    #[arg(long, env = "TASKQ_DEADLINE", value_name = "TIME", value_parser = taskq::parse_duration)]
    deadline: Option<Duration>,

    /// How many attempts may follow a failed one [default: the task's own]
    #[arg(long, env = "TASKQ_RETRIES", value_name = "COUNT")]
    retries: Option<u32>,

    /// The waits between attempts, such as 'exponential(1s, max 5m)' or 'constant(10s)'
    #[arg(long, env = "TASKQ_BACKOFF", value_name = "BACKOFF")]
    backoff: Option<Backoff>,

    #[command(flatten)]
    who: Who,
}

/// One of these.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct When {
    /// A cron pattern of 5 fields, or of 6 with the seconds first; or @hourly, @daily, @weekly, ..
    #[arg(long, env = "TASKQ_CRON", value_name = "PATTERN")]
    pub(crate) cron: Option<String>,

    /// An interval, counted from --start, or from 1970
    #[arg(long, env = "TASKQ_EVERY", value_name = "TIME", value_parser = taskq::parse_duration)]
    pub(crate) every: Option<Duration>,

    /// Once, at this moment: 2026-12-01T09:00:00Z, or so long from now
    #[arg(long, env = "TASKQ_AT", value_name = "TIME", value_parser = moment::to_come)]
    pub(crate) at: Option<Timestamp>,
}

impl AddArgs {
    fn call(&self) -> Call<Untyped> {
        let mut call = Call::named(&self.task)
            .queue(&self.queue)
            .priority(self.priority);
        for value in self.args.iter().flat_map(Positional::values) {
            call = call.positional(value);
        }
        for (name, value) in self.kwargs.iter().flat_map(Named::values) {
            call = call.arg(name, value);
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
        call
    }
}

pub(super) async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    args.who.common.log.init();
    let client = args.who.common.connect().await?;
    let mut new = client
        .schedule(&args.name, args.call())
        .overlap(args.overlap)
        .misfire(args.misfire)
        .misfire_after(args.misfire_after)
        .by(args.who.by());
    if let Some(pattern) = args.when.cron {
        new = new.cron(pattern);
    }
    if let Some(period) = args.when.every {
        new = new.every(period);
    }
    if let Some(at) = args.when.at {
        new = new.at(at);
    }
    if let Some(tz) = args.tz {
        new = new.tz(tz);
    }
    if let Some(start) = args.start {
        new = new.start(start);
    }
    if let Some(end) = args.end {
        new = new.end(end);
    }
    if let Some(jitter) = args.jitter {
        new = new.jitter(jitter);
    }
    let schedule = new.save().await?;
    let info = schedules::get(&client, &schedule.name).await?;
    if args.who.json {
        output::json(&info)?;
        return Ok(ExitCode::SUCCESS);
    }
    let next = match info.next {
        Some(next) => format!("next at {}", schedule.clock(next)),
        None => "paused".to_owned(),
    };
    output::say(format_args!("{}: {}; {next}", schedule.name, info.in_words))?;
    Ok(ExitCode::SUCCESS)
}
