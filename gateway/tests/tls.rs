//! Encrypted connections, by certificates in files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

mod certificates;

use std::path::Path;

use taskq::Mode;
use taskq_e2e::{Fixture, Program, program, run};

use self::certificates::Authority;

fn start(system: &Fixture, more: &[(&str, &Path)]) -> (Program, String) {
    let mut command = program(env!("CARGO_BIN_EXE_gateway"));
    command.args(["--url", system.url(), "--http", "127.0.0.1:0"]);
    for (flag, path) in more {
        command.arg(flag).arg(path);
    }
    let running = Program::start(&mut command);
    let line = running.stderr_line("listening at https://127.0.0.1:");
    let (_, rest) = line.split_once("https://127.0.0.1:").unwrap();
    let port = rest.split_whitespace().next().unwrap();
    (running, format!("https://localhost:{port}/v1/session"))
}

/// What curl is answered: the status and the headers, or why there is none.
fn ask(address: &str, ca: &Path, more: &[&Path]) -> Result<String, String> {
    let mut command = program("curl");
    command.args(["-s", "-S", "-D", "-", "-o", "/dev/null", "--noproxy", "*"]);
    command.arg("--cacert").arg(ca);
    if let [certificate, key] = more {
        command.arg("--cert").arg(certificate);
        command.arg("--key").arg(key);
    }
    let asked = run(command.arg(address));
    match asked.code() {
        0 => Ok(asked.stdout),
        _ => Err(asked.stderr),
    }
}

#[test]
fn connections_are_encrypted_and_a_changed_certificate_counts_without_a_restart() {
    let system = Fixture::new(Mode::JetStream);
    let (first, second) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = first.sign(folder.path());
    let (running, address) = start(
        &system,
        &[("--tls-cert", &certificate), ("--tls-key", &key)],
    );
    let answer = ask(&address, &first.ca(), &[]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = answer.to_lowercase();
    assert!(
        answer.contains("strict-transport-security: max-age=31536000"),
        "{answer}"
    );
    assert!(ask(&address, &second.ca(), &[]).is_err());
    let plain = address.replace("https", "http");
    assert!(ask(&plain, &first.ca(), &[]).is_err());
    // Half of a change is told, and what was there goes on to count.
    std::fs::write(&key, "no key").unwrap();
    let told = loop {
        ask(&address, &first.ca(), &[]).unwrap();
        let told = running.stderr();
        if told.contains("goes on to count") {
            break told;
        }
    };
    assert!(told.contains("key.pem"), "{told}");
    second.sign(folder.path());
    while ask(&address, &second.ca(), &[]).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(ask(&address, &first.ca(), &[]).is_err());
}

#[test]
fn a_client_shows_a_certificate_where_one_is_asked_for() {
    let system = Fixture::new(Mode::JetStream);
    let (servers, clients) = (Authority::new(), Authority::new());
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [certificate, key] = servers.sign(folder.path());
    let (_running, address) = start(
        &system,
        &[
            ("--tls-cert", &certificate),
            ("--tls-key", &key),
            ("--tls-client-ca", &clients.ca()),
        ],
    );
    assert!(ask(&address, &servers.ca(), &[]).is_err());
    assert!(ask(&address, &servers.ca(), &[&certificate, &key]).is_err());
    let [own, own_key] = clients.sign(other.path());
    let answer = ask(&address, &servers.ca(), &[&own, &own_key]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn files_that_do_not_belong_together_are_told_before_it_listens() {
    let authority = Authority::new();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [certificate, _] = authority.sign(one.path());
    let [_, key] = authority.sign(other.path());
    let mut command = program(env!("CARGO_BIN_EXE_gateway"));
    command.arg("--tls-cert").arg(&certificate);
    command.arg("--tls-key").arg(&key);
    let ended = run(&mut command);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("is not that of the certificate"),
        "{}",
        ended.stderr
    );
}
