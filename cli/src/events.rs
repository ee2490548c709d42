//! `taskq events`: what happens, line by line.

mod line;
mod seen;

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use taskq::admin::{self, EventFilter};
use taskq::cli::stop_signal;
use taskq::{Client, Event, Timestamp};

pub(crate) use self::line::print;
use self::seen::Seen;
use crate::Common;
use crate::moment::moment;
use crate::output;

/// How far back one looks who does not say.
const PAST: &str = "1h";
/// How soon to try again after reading broke off.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on with what happens, until Ctrl-C
    #[arg(long, short, env = "TASKQ_FOLLOW")]
    follow: bool,

    /// From when on: so long ago, such as 1h, or a time, such as 2026-11-22T04:32:01Z
    /// [default: 1h; with --follow from now on]
    #[arg(long, env = "TASKQ_SINCE", value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Only those for which all terms hold: event=failed,dead queue=email task=.. id=.. worker=..
    #[arg(long, env = "TASKQ_FILTER", value_name = "TERMS", default_value = "")]
    filter: EventFilter,

    /// Print one JSON object a line
    #[arg(long, env = "TASKQ_JSON")]
    json: bool,

    #[command(flatten)]
    common: Common,
}

pub(crate) async fn events(args: Args) -> anyhow::Result<ExitCode> {
    args.common.log.init();
    let client = args.common.connect().await?;
    if args.follow {
        tokio::select! {
            followed = args.follow(&client) => followed?,
            () = stop_signal() => {}
        }
        return Ok(ExitCode::SUCCESS);
    }
    let since = match args.since {
        Some(since) => since,
        None => moment(PAST)?,
    };
    let filter = args.filter.clone();
    let events = admin::events(&client, filter, Some(since), false).await?;
    let mut events = events.boxed();
    while let Some(event) = events.next().await {
        args.tell(&event?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Tells what happens; where reading breaks off, it is taken up again.
    async fn follow(&self, client: &Client) -> anyhow::Result<()> {
        let mut seen = Seen::default();
        let mut since = self.since;
        let mut begun = false;
        loop {
            let opened = Timestamp::now();
            let broken = match admin::events(client, self.filter.clone(), since, true).await {
                Ok(events) => {
                    begun = true;
                    tracing::debug!("following");
                    self.tell_all(events, &mut seen).await?
                }
                Err(error) if begun => Some(error),
                Err(error) => return Err(error.into()),
            };
            match broken {
                Some(error) => tracing::warn!("{error}; trying on"),
                None => tracing::debug!("the server ended the reading; taking it up again"),
            }
            // What happened meanwhile is read too, and nothing told twice.
            since = seen.resume().or(since).or(Some(opened));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells events until reading breaks off, and why it did.
    async fn tell_all(
        &self,
        events: impl futures::Stream<Item = taskq::Result<Event>> + Send,
        seen: &mut Seen,
    ) -> anyhow::Result<Option<taskq::Error>> {
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) if seen.is_new(&event) => self.tell(&event)?,
                Ok(_) => {}
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(None)
    }

    fn tell(&self, event: &Event) -> anyhow::Result<()> {
        if self.json {
            output::json(event)
        } else {
            print(event)
        }
    }
}
