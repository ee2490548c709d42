//! Mails through a real SMTP server: aiosmtpd, from PyPI. Skipped without it.
#![cfg(feature = "mail")]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use taskq::prelude::*;
use taskq_nats_server::NatsServer;
use tasks::mail::{Email, send_email};

/// Tells its port, and each mail's id; refuses who is to be refused, and is busy
/// at the first mail to who comes late.
const SERVER: &str = r#"
import asyncio, sys
from email import message_from_bytes
from aiosmtpd.controller import Controller
seen = set()
class Mails:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user"
        if address.startswith("late") and address not in seen:
            seen.add(address)
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content)
        print(mail["Message-ID"], flush=True)
        return "250 accepted"
controller = Controller(Mails(), hostname="127.0.0.1", port=0)
controller.port = int(sys.argv[1])
controller.start()
print("ready", flush=True)
sys.stdin.read()
"#;

struct Smtp {
    server: Child,
    url: String,
    lines: std::sync::mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn pip(folder: &Path) -> bool {
    let pip = ["-m", "pip", "install", "-q", "--no-deps", "--target"];
    let packages = ["aiosmtpd==1.4.6", "atpublic==5.1", "attrs==25.3.0"];
    let done = Command::new("python3")
        .args(pip)
        .arg(folder)
        .args(packages)
        .status();
    done.is_ok_and(|status| status.success())
}

fn smtp() -> Option<Smtp> {
    let folder = tempfile::tempdir().unwrap();
    if !pip(folder.path()) {
        println!("skipped: aiosmtpd cannot be had");
        return None;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut server = Command::new("python3")
        .args(["-c", SERVER, &port.to_string()])
        .env("PYTHONPATH", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(server.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    assert_eq!(lines.recv().unwrap(), "ready");
    Some(Smtp {
        server,
        url: format!("smtp://127.0.0.1:{port}"),
        lines,
        _folder: folder,
    })
}

/// The part of the test that is a worker, in a process of its own: what it is told by
/// its environment counts for its whole life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "no test: it is the worker of the other"]
async fn worker() {
    let url = std::env::var("NATS_URL").unwrap();
    let client = Client::connect(url).await.unwrap();
    let worker = Worker::builder(client).concurrency(8).lease(3.seconds());
    worker.build().unwrap().run().await.unwrap();
}

struct Sender(Child);

impl Sender {
    fn start(nats: &str, smtp: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command
            .args(["worker", "--exact", "--ignored"])
            .env("NATS_URL", nats)
            .env("TASKQ_SMTP_URL", smtp)
            .env("TASKQ_MAIL_FROM", "shop@example.org")
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn email(to: &str) -> Email {
    Email {
        to: vec![to.into()],
        subject: "Hello".into(),
        text: "How are you?".into(),
        ..Email::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mails_arrive_once_though_their_worker_is_killed() {
    let Some(smtp) = smtp() else { return };
    let nats = NatsServer::builder().start().unwrap();
    let client = Client::connect(nats.url()).await.unwrap();
    let killed = Sender::start(nats.url(), &smtp.url);
    let mut handles = Vec::new();
    for place in 0..1000 {
        let to = format!("user{place}@example.com");
        handles.push(send_email::enqueue(&client, email(&to)).await.unwrap());
    }
    let mut arrived: BTreeMap<String, u32> = BTreeMap::new();
    for line in smtp.lines.iter().take(300) {
        *arrived.entry(line).or_default() += 1;
    }
    drop(killed);
    let _other = Sender::start(nats.url(), &smtp.url);
    for handle in &handles {
        let sent = handle.result().await.unwrap();
        assert_eq!(sent.message_id, format!("<{}@example.org>", handle.id()));
    }
    let soon = std::time::Duration::from_secs(60);
    while arrived.len() < 1000 {
        let line = smtp.lines.recv_timeout(soon).unwrap();
        *arrived.entry(line).or_default() += 1;
    }
    for line in smtp.lines.try_iter() {
        *arrived.entry(line).or_default() += 1;
    }
    // As a mailbox sees it: by the Message-ID. What was under way to the server
    // when the worker was killed can have come to it twice, and is the same mail.
    assert_eq!(arrived.len(), 1000);
    let twice = arrived.values().filter(|count| **count > 1).count();
    println!("{twice} of 1000 were offered to the server twice");
    assert!(twice <= 8, "only what was under way: {twice}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_there_is_told_at_once_and_who_is_busy_is_asked_again() {
    let Some(smtp) = smtp() else { return };
    let nats = NatsServer::builder().start().unwrap();
    let client = Client::connect(nats.url()).await.unwrap();
    let _worker = Sender::start(nats.url(), &smtp.url);
    let nobody = send_email::enqueue(&client, email("nobody@example.com"))
        .await
        .unwrap();
    let outcome = nobody.outcome().await.unwrap();
    assert_eq!(outcome.attempt, 1);
    let error = outcome.error.unwrap().message;
    assert!(error.contains("no such user"), "{error}");
    let late =
        send_email::call(email("late@example.com")).backoff("constant(10ms)".parse().unwrap());
    let outcome = late
        .enqueue(&client)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert_eq!(outcome.attempt, 2, "{outcome:?}");
}
