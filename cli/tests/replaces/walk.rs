//! Types a document into a shell.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use taskq_nats_server::NatsServer;

use crate::document::{Step, blocks};
use crate::expected::compare;
use crate::needs::Needs;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What a command ends with in the shell's output.
const MARK: &str = "\u{1}done";
/// The addresses that documents use, each with a free port.
const ADDRESSES: [&str; 7] = [
    "GATEWAY",
    "GATEWAY_2",
    "GATEWAY_3",
    "PROXY",
    "WORKER_HTTP",
    "WORKER_HTTP_2",
    "SMTP",
];

/// Runs a document of `docs/replaces`. Tells what was left out; or what is not
/// as it says.
pub(crate) fn walk(file: &str) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/replaces").join(file));
    let text = text.map_err(|error| format!("{file}: {error}"))?;
    let folder = tempfile::tempdir().unwrap();
    let server = NatsServer::builder().start().unwrap();
    let mut shell = Shell::start(root, folder.path(), server.url());
    let mut needs = Needs::default();
    let mut said = String::new();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for block in blocks(&text)? {
        let many = block.steps.len();
        if block.is_left_out {
            let why = "left out, as the document says".to_owned();
            *left_out.entry(why).or_default() += many;
            continue;
        }
        if let Some(what) = &block.needs {
            match needs.meet(what) {
                Ok(setting) => shell.set(&setting),
                Err(why) => {
                    *left_out.entry(why).or_default() += many;
                    continue;
                }
            }
        }
        for step in &block.steps {
            let done = shell.step(step);
            done.map_err(|why| format!("docs/replaces/{file}:{}: {why}", step.line))?;
        }
    }
    for (why, many) in left_out {
        said.push_str(&format!("  skipped: {why}: {many} commands of {file}\n"));
    }
    Ok(said)
}

/// One shell for the whole of a document. It ends, with all that it started,
/// with this.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: Receiver<String>,
    folder: std::path::PathBuf,
    steps: usize,
}

impl Shell {
    fn start(root: &Path, folder: &Path, url: &str) -> Self {
        let programs = folder.join(".programs");
        std::fs::create_dir(&programs).unwrap();
        let own = std::env::current_exe().unwrap();
        let link = |to: &Path, from: &Path| std::os::unix::fs::symlink(to, from).unwrap();
        for name in ["worker", "producer", "gateway"] {
            link(&own, &programs.join(name));
        }
        link(
            Path::new(env!("CARGO_BIN_EXE_taskq")),
            &programs.join("taskq"),
        );
        for name in [
            "docker-compose.yml",
            "deploy",
            "k8s",
            "scripts",
            "Cargo.toml",
        ] {
            link(&root.join(name), &folder.join(name));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = taskq_e2e::program("bash");
        command
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("NATS_URL", url)
            .env("HOME", folder)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "200");
        // Taken together, so that each is another.
        let free: Vec<_> = ADDRESSES
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        for (name, listener) in ADDRESSES.iter().zip(&free) {
            command.env(name, listener.local_addr().unwrap().to_string());
        }
        drop(free);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .unwrap();
        let (lines, output) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                if lines
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
        Self {
            input: process.stdin.take().unwrap(),
            process,
            output,
            folder: folder.to_owned(),
            steps: 0,
        }
    }

    /// Has the shell know something that is no part of the document.
    fn set(&mut self, setting: &str) {
        self.input.write_all(setting.as_bytes()).unwrap();
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.steps += 1;
        let script = self.folder.join(format!(".step-{}", self.steps));
        std::fs::write(&script, format!("{}\n", step.command)).unwrap();
        // It shall read none of what is typed after it. What goes on in the
        // background says nothing between the lines of others.
        let to = match step.is_in_background() {
            true => format!(">.log-{} 2>&1", self.steps),
            false => "2>&1".to_owned(),
        };
        let typed = format!(
            ". {} </dev/null {to}; printf '\\n{MARK} %d\\n' $?\n",
            script.display()
        );
        self.input.write_all(typed.as_bytes()).unwrap();
        let (code, printed) = self.answer(step)?;
        if code != 0 {
            return Err(self.complaint(step, &format!("exit code {code}\n{printed}")));
        }
        compare(&step.expected, &printed)
            .map_err(|diff| self.complaint(step, &format!("prints something else\n{diff}")))
    }

    /// The exit code of what was typed, and what it printed.
    fn answer(&self, step: &Step) -> Result<(i32, String), String> {
        let limit = Instant::now() + LIMIT;
        let mut printed: Vec<String> = Vec::new();
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let Ok(line) = self.output.recv_timeout(left) else {
                let so_far = printed.join("\n");
                return Err(self.complaint(step, &format!("does not end; so far:\n{so_far}")));
            };
            if let Some(code) = line.strip_prefix(MARK) {
                // The mark stands on a line of its own.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return Ok((code.trim().parse().unwrap_or(-1), printed.join("\n")));
            }
            // The shell tells of what was killed, when it comes to it.
            if !(line.contains("/.step-") && line.contains(" Killed ")) {
                printed.push(line);
            }
        }
    }

    fn complaint(&self, step: &Step, what: &str) -> String {
        let mut text = format!("`{}` {what}\n", step.command);
        for number in 1..=self.steps {
            let log = std::fs::read_to_string(self.folder.join(format!(".log-{number}")));
            if let Ok(log) = log {
                let from = log.lines().count().saturating_sub(5);
                let end: Vec<&str> = log.lines().skip(from).collect();
                text.push_str(&format!(
                    "  log of step {number}:\n    {}\n",
                    end.join("\n    ")
                ));
            }
        }
        text
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}
