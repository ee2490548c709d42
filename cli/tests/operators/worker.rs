//! The worker that the tests run as a process of its own.

use std::path::Path;
use std::process::Command;

use taskq::cli::{LogArgs, LogFormat};
use taskq::prelude::*;

const URL: &str = "OPERATORS_WORKER_URL";
const NAME: &str = "OPERATORS_WORKER_NAME";

/// Fails until the file is there.
#[task(retries = 1, backoff = "constant(1ms)")]
async fn read_file(file: String) -> Result<u32, std::io::Error> {
    match Path::new(&file).exists() {
        true => Ok(7),
        false => Err(std::io::Error::other("there is no route to the file")),
    }
}

/// Makes the file, and goes on until it is stopped.
#[task]
async fn go_on(file: String) {
    made(&file);
    std::future::pending::<()>().await;
}

/// Makes the file, and ends well once the file `<file>.end` is there: it does
/// not listen, and cannot be dropped.
#[task]
fn stubborn(ctx: Context, file: String) -> u32 {
    made(&file);
    while !Path::new(&format!("{file}.end")).exists() {
        std::thread::sleep(5.millis());
    }
    ctx.attempt()
}

/// Fails with its password.
#[task(sensitive)]
async fn sign_in(password: String) -> Result<(), TaskError> {
    Err(TaskError::permanent(format!("bad password {password}")))
}

/// Tells how far it is, and ends once the file is there.
#[task]
async fn step_by_step(ctx: Context, file: String) -> u32 {
    ctx.log("about to begin");
    ctx.progress(3, 10, "three are done");
    while !Path::new(&file).exists() {
        tokio::time::sleep(5.millis()).await;
    }
    10
}

/// Takes a moment.
#[task]
async fn nap(n: u32) -> u32 {
    tokio::time::sleep(20.millis()).await;
    n
}

/// Takes its worker with it.
#[task]
fn die(ctx: Context, file: String) {
    let _ = file;
    eprintln!("about to die of {}", ctx.id());
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
}

fn made(file: &str) {
    if let Err(error) = std::fs::write(file, "") {
        panic!("{file} cannot be made: {error}");
    }
}

/// This program, as a worker.
pub(crate) fn command(url: &str, name: &str) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = taskq_e2e::program(program.to_str().unwrap());
    command
        .args(["--exact", "worker::process", "--ignored", "--nocapture"])
        .env(URL, url)
        .env(NAME, name);
    command
}

#[tokio::test]
#[ignore = "no test: it is the worker of the others"]
async fn process() {
    // Started by a test, or by a pool.
    let setting = |own, of_pool| std::env::var(own).or_else(|_| std::env::var(of_pool));
    let Ok(url) = setting(URL, "NATS_URL") else {
        return;
    };
    let name = setting(NAME, "TASKQ_WORKER_NAME").unwrap();
    let slots = std::env::var("TASKQ_CONCURRENCY").map_or(64, |slots| slots.parse().unwrap());
    let lease = std::env::var("TASKQ_LEASE");
    let lease = lease.map_or(6.seconds(), |lease| taskq::parse_duration(&lease).unwrap());
    let log = LogArgs {
        log: "info".to_owned(),
        log_format: LogFormat::Text,
    };
    log.init();
    let client = Client::connect(url).await.unwrap();
    let worker = Worker::builder(client)
        .name(name.as_str())
        .concurrency(slots)
        .lease(lease)
        .cancel_grace(100.millis())
        .build()
        .unwrap();
    worker.run().await.unwrap();
}
