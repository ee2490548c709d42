//! CPU and memory of processes, as Linux tells them. Elsewhere nothing is
//! told, and the report says `n/a`.

use std::fs;
use std::time::Duration;

/// The unit of times in `/proc`, by the kernel's promise to programs whatever
/// it counts in itself (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used, of all its threads.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    cpu_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Physical memory that a process has now, in bytes.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    memory_in_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// CPU time that everything on the machine has used.
pub(crate) fn machine_cpu() -> Option<Duration> {
    busy_in_stat(&fs::read_to_string("/proc/stat").ok()?)
}

fn cpu_in_stat(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, and may hold both
    // blanks and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

fn memory_in_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn busy_in_stat(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let mut times = line.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || times.next()?.ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _iowait) = (next()?, next()?);
    let (interrupts, soft_interrupts) = (next()?, next()?);
    let ticks = user + nice + system + interrupts + soft_interrupts;
    Some(Duration::from_millis(ticks * TICK.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_past_a_name_with_brackets() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 9 0 0 0 130 25 0 0 20 0 3 0 5 6 7";
        assert_eq!(cpu_in_stat(stat), Some(Duration::from_millis(1_550)));
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tbench\nVmHWM:\t  9000 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(memory_in_status(status), Some(2 << 20));
        assert_eq!(memory_in_status("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  100 1 20 9999 500 3 4 0 0 0\ncpu0 1 2 3\n";
        assert_eq!(busy_in_stat(stat), Some(Duration::from_millis(1_280)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(memory(pid) > Some(100_000));
        assert!(cpu(pid).is_some());
        assert!(machine_cpu() > Some(Duration::ZERO));
    }
}
