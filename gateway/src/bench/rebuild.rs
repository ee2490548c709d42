//! Whether an index that is built from the streams answers as the one that
//! followed them: `gateway bench-index --rebuild`.

use std::time::Instant;

use taskq::Client;
use taskq::admin::{self, InitOptions};
use taskq_nats_server::NatsServer;

use super::BenchArgs;
use super::answers::{Answers, Asked};
use super::followed::{Following, Place};
use super::history::History;
use crate::index::{Database, Index, Retention};

/// The namespace, by which a database's schema is named too.
const NAMESPACE: &str = "bench";
/// How many differences are shown.
const SHOWN: usize = 20;

/// What it took to have an index.
struct Built {
    seconds: f64,
    memory: Option<f64>,
}

/// [`compare`], until the program is told to stop: the processes that it began
/// end with it.
pub(super) async fn bench_rebuild(args: &BenchArgs) -> anyhow::Result<()> {
    tokio::select! {
        compared = compare(args) => compared,
        () = taskq::cli::stop_signal() => anyhow::bail!("stopped"),
    }
}

/// Stores what tasks leave behind while a gateway follows; then has another one
/// begin with nothing. Both are asked the same, and a table is printed.
///
/// # Errors
/// When the two answer differently, or something fails.
async fn compare(args: &BenchArgs) -> anyhow::Result<()> {
    let server = tokio::task::spawn_blocking(|| NatsServer::builder().start()).await??;
    let url = server.url();
    let client = Client::builder()
        .url(url)
        .namespace(NAMESPACE)
        .connect()
        .await?;
    admin::init(&client, InitOptions::new()).await?;
    let folder = tempfile::Builder::new().prefix("taskq-bench-").tempdir()?;
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let place = |path| match &args.database_url {
        Some(url) => Place::Database(url),
        None => Place::File(path),
    };
    // What else there is beside the tasks is little.
    let most = args.tasks.saturating_add(10_000);

    let index = empty(&place(&first)).await?;
    let begun = Instant::now();
    let mut gateway = Following::start(url, &client, &place(&first), most)?;
    let mut history = History::new(url, &client, args.tasks).await?;
    history.tasks().await?;
    let stored = begun.elapsed().as_secs_f64();
    gateway.caught_up(&client, &index).await?;
    let followed = begun.elapsed().as_secs_f64();
    let touched = history.operators(&client).await?;
    gateway.caught_up(&client, &index).await?;
    let followed = Built {
        seconds: followed,
        memory: gateway.end(),
    };
    let asked = Asked {
        tasks: args.tasks,
        start: history.start(),
        touched,
    };
    let before = Answers::of(&index, &asked).await?;
    drop(index);

    let index = empty(&place(&second)).await?;
    let begun = Instant::now();
    let mut gateway = Following::start(url, &client, &place(&second), most)?;
    gateway.caught_up(&client, &index).await?;
    let rebuilt = Built {
        seconds: begun.elapsed().as_secs_f64(),
        memory: gateway.end(),
    };
    let after = Answers::of(&index, &asked).await?;
    let compared = before.compare(&after);

    println!(
        "{} tasks, {} records, stored in {stored:.1} s",
        args.tasks,
        history.stored()
    );
    println!("{:<22}{:>12}{:>12}", "", "followed", "rebuilt");
    let row = |name: &str, of: &dyn Fn(&Built) -> String| {
        println!("{name:<22}{:>12}{:>12}", of(&followed), of(&rebuilt));
    };
    row("seconds", &|built| format!("{:.1}", built.seconds));
    row("tasks a second", &|built| {
        format!("{:.0}", args.tasks as f64 / built.seconds)
    });
    row("peak memory, MB", &|built| {
        built
            .memory
            .map_or_else(|| "unknown".to_owned(), |memory| format!("{memory:.0}"))
    });
    println!(
        "{} questions, {} answers compared, {} differ",
        compared.questions,
        compared.answers,
        compared.different.len()
    );
    for different in compared.different.iter().take(SHOWN) {
        println!("{different}");
    }
    anyhow::ensure!(
        compared.different.is_empty(),
        "an index that is built again answers otherwise than the one that followed"
    );
    Ok(())
}

/// An index with nothing in it, to be filled by a gateway and asked from here.
async fn empty(place: &Place<'_>) -> anyhow::Result<Index> {
    Ok(match place {
        Place::File(path) => Index::open(path, Retention::default())?,
        Place::Database(url) => {
            let database = Database {
                url: (*url).to_owned(),
                ca: None,
            };
            let index = Index::in_database(&database, NAMESPACE, Retention::LONG).await?;
            index.clear().await?;
            index
        }
    })
}
