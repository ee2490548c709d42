//! Looking at schedules.

use std::process::ExitCode;

use serde_json::json;
use taskq::admin::schedules::{self, ScheduleInfo};
use taskq::{Call, Timestamp};
use taskq_producer::table;

use crate::output::{self, one_line};
use crate::{Common, list, moment};

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// Name of the schedule
    name: String,

    #[command(flatten)]
    list: list::Args,
}

#[derive(clap::Args)]
pub(crate) struct NextArgs {
    /// Name of the schedule; not with --cron
    #[arg(required_unless_present = "cron", conflicts_with = "cron")]
    name: Option<String>,

    /// A cron pattern, or `every 15m`, that is not set: asks no server
    #[arg(long, env = "TASKQ_CRON", value_name = "PATTERN")]
    cron: Option<String>,

    /// Time zone of the pattern [default: UTC]
    #[arg(long, env = "TASKQ_TZ", value_name = "ZONE", requires = "cron")]
    tz: Option<String>,

    /// How many times
    #[arg(
        long,
        short = 'n',
        env = "TASKQ_COUNT",
        value_name = "COUNT",
        default_value_t = 5
    )]
    count: usize,

    /// Times after this moment: 2026-12-01T00:00:00Z, or so long from now [default: now]
    #[arg(long, env = "TASKQ_AFTER", value_name = "TIME", value_parser = moment::to_come)]
    after: Option<Timestamp>,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let list::Args { json, common } = args.list;
    common.log.init();
    let client = common.connect().await?;
    let all = schedules::list(&client).await?;
    if json {
        for info in &all {
            output::json(info)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        eprintln!("no schedules; make one: taskq schedules add NAME TASK --cron '0 9 * * *'");
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = table(["schedule", "task", "when", "next", "last"]);
    for info in &all {
        shown.add_row([
            one_line(&info.schedule.name).into_owned(),
            one_line(info.schedule.task()).into_owned(),
            one_line(&info.in_words).into_owned(),
            next_of(info),
            info.last.as_ref().map_or_else(String::new, |last| {
                format!("{} {}", info.schedule.clock(last.at), last.status)
            }),
        ]);
    }
    output::say(shown)?;
    Ok(ExitCode::SUCCESS)
}

/// When a schedule fires next, or why it does not.
fn next_of(info: &ScheduleInfo) -> String {
    let mut text = match (&info.schedule.paused, info.next) {
        (Some(paused), _) => {
            let because = paused.because.as_ref();
            let because = because.map_or_else(String::new, |text| format!(": {text}"));
            format!("paused by {}{because}", paused.by)
        }
        (None, Some(next)) => info.schedule.clock(next),
        (None, None) => "never, it has ended".to_owned(),
    };
    if info.declared == Some(false) {
        text.push_str("; no living worker declares it any more");
    }
    one_line(&text).into_owned()
}

pub(super) async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let list::Args { json, common } = args.list;
    common.log.init();
    let client = common.connect().await?;
    let info = schedules::get(&client, &args.name).await?;
    if json {
        output::json(&info)?;
        return Ok(ExitCode::SUCCESS);
    }
    let schedule = &info.schedule;
    let source = serde_json::to_value(schedule.source)?;
    let source = source.as_str().unwrap_or_default();
    let mut lines = vec![
        ("schedule", schedule.name.clone()),
        ("task", schedule.task().to_owned()),
        ("queue", schedule.queue().to_owned()),
        ("arguments", schedule.arguments().to_string()),
        ("when", format!("{} ({})", info.in_words, schedule.when())),
        ("next", next_of(&info)),
        ("overlap", schedule.overlap().to_string()),
        ("misfire", schedule.misfire().to_string()),
        (
            "set by",
            format!("{} ({source}), {}", schedule.by, schedule.since),
        ),
    ];
    if let Some(last) = &info.last {
        lines.push(("last", format!("{} {}", last.id, last.status)));
    }
    for (name, value) in lines {
        output::say(format_args!("{name:<10} {}", one_line(&value)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn next(args: NextArgs) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let schedule = match (&args.name, &args.cron) {
        (_, Some(pattern)) => {
            // In this process: nothing is set.
            let client = taskq::Client::memory();
            let mut new = client
                .schedule("pattern", Call::named("pattern"))
                .cron(pattern);
            if let Some(tz) = &args.tz {
                new = new.tz(tz);
            }
            new.save().await?
        }
        (Some(name), None) => {
            let client = args.common.connect().await?;
            schedules::get(&client, name).await?.schedule
        }
        (None, None) => anyhow::bail!("name a schedule, or give a pattern by --cron"),
    };
    let after = args.after.unwrap_or_else(Timestamp::now);
    for time in schedule.next(after, args.count) {
        if args.json {
            let clock = schedule.clock(time);
            output::json(&json!({ "schedule": args.name, "at": time, "clock": clock }))?;
        } else {
            output::say(schedule.clock(time))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
