//! A PostgreSQL server of a test's own.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The server, with one database `postgres`; it ends with this.
#[derive(Debug)]
pub struct PostgresServer {
    /// Ends the server when its input does, also where this process is killed.
    keeper: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());

impl PostgresServer {
    /// The server that tests share which run at once; none where PostgreSQL is
    /// not installed.
    #[must_use]
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// Starts a server; none where PostgreSQL is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts a server that lets nobody in whose connection is not encrypted, by
    /// a certificate and its key; none where PostgreSQL is not installed.
    #[must_use]
    pub fn start_encrypted(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_with(Some([certificate, key]))
    }

    fn start_with(encrypted: Option<[&Path; 2]>) -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        // The port is free now; should another take it, the server says so.
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("bound").port()
        };
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            // It refuses to run as root: `nobody` owns its folder.
            std::os::unix::fs::chown(&data, Some(NOBODY), None).expect("the folder given away");
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder.path(), open).expect("the folder opened");
        }
        let made = as_nobody(Command::new(programs.join("initdb")), is_root)
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
            ])
            .arg("--locale=C.UTF-8")
            .arg("-D")
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {made:?}");
        let mut more = Vec::new();
        if let Some([certificate, key]) = encrypted {
            // A key that others may read, or that is another's, is refused.
            for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
                let to = data.join(name);
                std::fs::copy(from, &to).expect("a copy");
                let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(&to, own).expect("a file of its own");
                if is_root {
                    std::os::unix::fs::chown(&to, Some(NOBODY), None).expect("a file given away");
                }
            }
            let who = "hostssl all all 127.0.0.1/32 trust\n";
            std::fs::write(data.join("pg_hba.conf"), who).expect("who may connect");
            more = vec!["-c", "ssl=on"];
        }
        let mut keeper = as_nobody(Command::new("/bin/sh"), is_root)
            .args(["-c", KEEP, "sh"])
            .arg(programs.join("postgres"))
            .args(["-D", &data.display().to_string(), "-p", &port.to_string()])
            .args([
                "-k",
                "",
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
            ])
            .args(["-c", "max_connections=60", "-c", "shared_buffers=64MB"])
            .args(more)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres");
        let begun = Instant::now();
        while !is_ready(&programs, port) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "postgres does not start"
            );
            assert!(
                keeper.try_wait().expect("a child").is_none(),
                "postgres has ended"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            keeper,
            port,
            _folder: folder,
        })
    }

    /// Cuts all connections, as a restart would.
    pub fn cut_connections(&self) {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let done = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-c", cut, "postgres"])
            .output()
            .expect("psql");
        assert!(done.status.success(), "{done:?}");
    }

    /// Its port at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its database.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres:s3cret@127.0.0.1:{}/postgres",
            self.port
        )
    }
}

/// Runs a server until the input ends, and ends it at once then.
const KEEP: &str = r#""$@" & server=$!; cat >/dev/null; kill -QUIT $server; wait $server"#;
/// The user that owns nothing else.
const NOBODY: u32 = 65534;

fn as_nobody(mut command: Command, is_root: bool) -> Command {
    if is_root {
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    }
    command
}

fn is_ready(programs: &Path, port: u16) -> bool {
    let asked = Command::new(programs.join("pg_isready"))
        .args(["-q", "-t", "1", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Where the programs are: in the path, or where Debian has them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path);
    let debian = std::fs::read_dir("/usr/lib/postgresql");
    let debian = debian.into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    debian.chain(in_path).find(|folder| {
        ["initdb", "postgres", "pg_isready"]
            .iter()
            .all(|it| folder.join(it).exists())
    })
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut input) = self.keeper.stdin.take() {
            let _ = input.flush();
        }
        let _ = self.keeper.wait();
    }
}
