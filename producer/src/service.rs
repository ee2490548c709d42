//! A producer that goes on sending.

use std::time::Duration;

use taskq::Client;
use tokio::time::MissedTickBehavior;

use crate::options::Options;
use crate::report::Summary;
use crate::send::round;
use crate::show::Screen;

/// Sends a round of tasks every `period` until `stop` is ready. A task that
/// fails is told of, and does not end the service.
///
/// # Errors
/// When stdout is closed.
pub async fn serve(
    client: &Client,
    options: &Options,
    period: Duration,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut screen = Screen::lines(options);
    let mut total = Summary::default();
    let started = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            round(client, options, |report| {
                total.add(&report);
                screen.tell(report)
            })
            .await?;
        }
    };
    tokio::select! {
        ended = rounds => return ended,
        () = stop => {}
    }
    total.seconds = started.elapsed().as_secs_f64();
    screen.end(&total)
}
