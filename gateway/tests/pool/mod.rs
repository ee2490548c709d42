//! A pool that the tests keep, with this program as its workers: real
//! processes, of the tests' own tasks.

use std::process::Command;

use clap::Parser as _;
use taskq::admin::pools::{self, PoolWish};
use taskq::prelude::*;
use taskq_pool::Program;
use tokio::task::JoinHandle;

/// What each worker says when it begins.
pub(crate) const LAST_WORDS: &str = "about to begin, <b>at once</b>";

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: taskq_pool::Args,
}

/// A pool in this process.
#[derive(Debug)]
pub(crate) struct Pool {
    client: Client,
    name: String,
    keeps: JoinHandle<anyhow::Result<()>>,
}

impl Pool {
    /// A pool of this name and with these flags, at this server.
    pub(crate) async fn start(url: &str, name: &str, flags: &[&str]) -> Self {
        let own = ["pool", "--url", url, "--name", name, "--log", "warn"];
        let cli = Cli::parse_from(own.iter().chain(flags));
        let worker = ["--exact", "pool::process", "--ignored", "--nocapture"];
        let worker = Program {
            path: std::env::current_exe().unwrap(),
            args: worker.map(Into::into).to_vec(),
        };
        Self {
            client: Client::connect(url).await.unwrap(),
            name: name.to_owned(),
            keeps: tokio::spawn(taskq_pool::run(cli.args, worker)),
        }
    }

    /// Lets its workers drain, and ends.
    pub(crate) async fn end(self) {
        let stop = pools::wish(&self.client, &self.name, PoolWish::Stop, "the test", None);
        stop.await.unwrap();
        self.keeps.await.unwrap().unwrap();
    }
}

/// Kills a process for good.
pub(crate) fn kill(process: u64) {
    let told = Command::new("kill")
        .args(["-s", "KILL", &process.to_string()])
        .status();
    assert!(told.is_ok_and(|status| status.success()), "{process}");
}

#[tokio::test]
#[ignore = "no test: it is a worker of a pool"]
async fn process() {
    let set = |name: &str| std::env::var(name);
    let Ok(name) = set("TASKQ_WORKER_NAME") else {
        return;
    };
    eprintln!("{LAST_WORDS}");
    let client = Client::connect(set("NATS_URL").unwrap()).await.unwrap();
    let queues = set("TASKQ_QUEUES").unwrap();
    let worker = Worker::builder(client)
        .name(name)
        .queues(queues.split(','))
        .concurrency(set("TASKQ_CONCURRENCY").unwrap().parse().unwrap());
    worker.run().await.unwrap();
}
