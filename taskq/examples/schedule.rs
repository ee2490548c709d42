//! What runs when: declared in code, and set by hand.
//!
//! `cargo run --example schedule`

use taskq::admin::schedules;
use taskq::prelude::*;
use taskq::{Overlap, Timestamp};

/// Each second, so that the example is short; `"0 9 * * MON-FRI"` and `tz =
/// "Europe/Berlin"` would be usual.
#[task(schedule = "* * * * * *", overlap = "skip")]
async fn tick(ctx: Context) -> String {
    match ctx.scheduled_for() {
        Some(second) => format!("for {second}"),
        None => "by hand".to_owned(),
    }
}

#[task]
async fn remind(what: String) -> String {
    format!("do not forget: {what}")
}

async fn show(client: &Client) -> taskq::Result<()> {
    // The worker sets it when it starts; this waits for its third fire.
    let mut seen: Vec<Timestamp> = Vec::new();
    while seen.len() < 3 {
        tokio::time::sleep(50.millis()).await;
        let Ok(info) = schedules::get(client, "tick").await else {
            continue;
        };
        if let Some(last) = info.last.filter(|last| last.status == "succeeded")
            && !seen.contains(&last.at)
        {
            let value: String = client.handle(last.id).result().await?;
            println!("tick {value}");
            seen.push(last.at);
        }
    }
    let whole = seen
        .windows(2)
        .all(|two| two[1].since(two[0]).subsec_millis() == 0);
    println!("whole seconds apart: {whole}");
    schedules::pause(client, "tick", "ada", Some("enough")).await?;

    let call = remind::call("the tea");
    let birthday = client
        .schedule("birthday", call)
        .cron("0 8 29 2 *")
        .tz("Europe/Berlin")
        .overlap(Overlap::Skip)
        .save()
        .await?;
    for time in birthday.next("2026-01-01T00:00:00Z".parse().unwrap_or(birthday.since), 2) {
        println!("{}", birthday.clock(time));
    }
    let now = schedules::run(client, "birthday", "ada").await?;
    println!("{}", now.result().await?);

    for info in schedules::list(client).await? {
        let paused = info
            .schedule
            .paused
            .map_or("it fires".to_owned(), |paused| {
                format!("paused by {}", paused.by)
            });
        println!("{}: {}, {paused}", info.schedule.name, info.in_words);
        schedules::remove(client, &info.schedule.name, "ada").await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> taskq::Result<()> {
    // Without NATS_URL, in the memory of this process.
    let builder = Client::builder().namespace("examples");
    let client = match std::env::var("NATS_URL") {
        Ok(url) => builder.url(url).connect().await?,
        Err(_) => builder.memory(),
    };
    let worker = Worker::builder(client.clone()).build()?;
    let mut shown = Ok(());
    let work = async { shown = show(&client).await };
    worker.run_until(work).await?;
    shown
}
