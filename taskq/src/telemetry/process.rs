//! CPU, memory and files of this process, as Linux tells them; elsewhere
//! nothing is told. Names and meanings are those of Prometheus' own
//! [client libraries].
//!
//! [client libraries]: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics

use std::fs;
use std::time::Duration;

/// The unit of times in `/proc`, by the kernel's promise to programs whatever
/// it counts in itself (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Process {
    /// CPU time of all its threads, user and system.
    pub(crate) cpu: Duration,
    /// When it was started, since 1970.
    pub(super) started: Duration,
    /// Physical memory, in bytes.
    pub(crate) resident: u64,
    /// Address space, in bytes.
    pub(super) virtual_memory: u64,
    pub(super) threads: u64,
    /// Files and sockets that are open, where that may be asked.
    pub(super) open_files: Option<u64>,
    /// How many may be; none for any number.
    pub(super) most_files: Option<u64>,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Option<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).ok();
        let mut process = Self::read(&read("self/stat")?, &read("self/status")?, &read("stat")?)?;
        process.open_files = fs::read_dir("/proc/self/fd")
            .ok()
            // One of them is the folder that is read.
            .and_then(|files| u64::try_from(files.count().saturating_sub(1)).ok());
        process.most_files = read("self/limits").and_then(|limits| most_files(&limits));
        Some(process)
    }

    fn read(stat: &str, status: &str, machine: &str) -> Option<Self> {
        // The second field is the program's name in brackets, and may hold
        // both blanks and brackets.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |place: usize| -> Option<Duration> {
            let ticks: u64 = fields.get(place)?.parse().ok()?;
            Some(Duration::from_millis(ticks * TICK.as_millis() as u64))
        };
        let kibibytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let count: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
            Some(count * 1024)
        };
        let boot = machine
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        Some(Self {
            cpu: ticks(11)? + ticks(12)?,
            started: Duration::from_secs(boot.trim().parse().ok()?) + ticks(19)?,
            resident: kibibytes("VmRSS:")?,
            virtual_memory: kibibytes("VmSize:")?,
            threads: fields.get(17)?.parse().ok()?,
            open_files: None,
            most_files: None,
        })
    }
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read_past_a_name_with_brackets() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 9 0 0 0 130 25 0 0 20 0 3 0 500 6 7";
        let status = "Name:\ta\nVmSize:\t  9000 kB\nVmRSS:\t    2048 kB\n";
        let process = Process::read(stat, status, "cpu  1 2\nbtime 1000\n").unwrap();
        assert_eq!(process.cpu, Duration::from_millis(1550));
        assert_eq!(process.started, Duration::from_secs(1005));
        assert_eq!((process.resident, process.threads), (2 << 20, 3));
        assert_eq!(process.virtual_memory, 9000 * 1024);
        assert_eq!(Process::read("42 (a) S 1", status, "btime 1\n"), None);
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(most_files(limits), Some(1024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let process = Process::this().unwrap();
        assert!(process.resident > 100_000 && process.threads > 0);
        assert!(process.open_files > Some(2));
    }
}
