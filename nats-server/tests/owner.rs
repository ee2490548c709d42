//! A server ends with its owner, and the owner notices when the server ends.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in what tests share"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use taskq_nats_server::NatsServer;

/// Set for the process that plays the owner, to the store folder or to nothing.
const STORE: &str = "TASKQ_TEST_OWNER_STORE";

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// Whether there is no such process, not even one that waits to be reaped.
fn is_gone(server: Pid) -> bool {
    test_kill_process(server).is_err()
}

/// An owner in a process of its own, its server's pid and its store.
fn owner(store: Option<&Path>) -> (Child, Pid, PathBuf) {
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", "plays_the_owner", "--ignored", "--nocapture"])
        .env(STORE, store.unwrap_or(Path::new("")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            let line = line.unwrap();
            let (_, told) = line.split_once("OWNER OF ")?;
            let (pid, store) = told.split_once(' ')?;
            Some((process(pid.parse().unwrap()), store.into()))
        });
    let (pid, store) = told.unwrap();
    (owner, pid, store)
}

#[test]
#[ignore = "is run by the tests below, as a process that they can kill"]
fn plays_the_owner() {
    let Ok(store) = env::var(STORE) else { return };
    let mut builder = NatsServer::builder();
    if !store.is_empty() {
        builder = builder.store_dir(store);
    }
    let server = builder.start().unwrap();
    println!("OWNER OF {} {}", server.pid(), server.store_dir().display());
    loop {
        thread::park();
    }
}

#[test]
fn a_server_and_its_store_end_with_an_owner_that_is_killed() {
    let (mut owner, server, store) = owner(None);
    assert!(!is_gone(server) && store.exists());

    // Child::kill is SIGKILL, which leaves the owner no time to clean up.
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server is gone", || is_gone(server));
    let run = store.parent().unwrap();
    eventually("the store is removed", || !run.exists());
}

#[test]
fn a_paused_server_ends_with_its_owner_too() {
    let (mut owner, server, _) = owner(None);
    kill_process(server, Signal::STOP).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server is gone", || is_gone(server));
}

#[test]
fn a_store_that_the_owner_named_stays_when_the_owner_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, server, store) = owner(Some(folder.path()));
    kill_process(server, Signal::STOP).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server is gone", || is_gone(server));
    assert_eq!(store, folder.path());
    assert!(store.join("jetstream").exists());
}

#[test]
fn the_death_of_the_server_is_noticed() {
    let mut server = NatsServer::builder().start().unwrap();
    kill_process(process(server.pid()), Signal::KILL).unwrap();
    eventually("is_running is false", || !server.is_running());
    let refused = server.resume().unwrap_err().to_string();
    assert!(refused.contains("signal 9"), "{refused}");

    server.restart().unwrap();
    assert!(server.is_running());
}

#[test]
fn the_owner_gets_the_interrupt_of_the_terminal_alone() {
    // A terminal signals its foreground process group, which is the owner's.
    let server = NatsServer::builder().start().unwrap();
    let group = |pid| rustix::process::getpgid(pid).unwrap();
    assert_ne!(group(Some(process(server.pid()))), group(None));
}
