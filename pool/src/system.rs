//! What the system tells of processes.

/// The most memory that a process has held, in bytes, where that is told.
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peak_memory(_: u32) -> Option<u64> {
    None
}

/// How many processes the system has killed since it had no memory left, of
/// whole machine or of a container, where that is told.
#[cfg(target_os = "linux")]
pub(crate) fn killed_for_memory() -> Option<u64> {
    let numbers = std::fs::read_to_string("/proc/vmstat").ok()?;
    let line = numbers
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn killed_for_memory() -> Option<u64> {
    None
}

/// A signal's name.
pub(crate) fn signal_name(number: i32) -> Option<String> {
    use rustix::process::Signal;
    let name = match Signal::from_named_raw(number)? {
        Signal::HUP => "SIGHUP",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        Signal::ILL => "SIGILL",
        Signal::TRAP => "SIGTRAP",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::FPE => "SIGFPE",
        Signal::KILL => "SIGKILL",
        Signal::USR1 => "SIGUSR1",
        Signal::SEGV => "SIGSEGV",
        Signal::USR2 => "SIGUSR2",
        Signal::PIPE => "SIGPIPE",
        Signal::ALARM => "SIGALRM",
        Signal::TERM => "SIGTERM",
        Signal::XCPU => "SIGXCPU",
        Signal::XFSZ => "SIGXFSZ",
        Signal::SYS => "SIGSYS",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The machine's name.
pub(crate) fn host() -> String {
    let machine = rustix::system::uname();
    machine.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_held_some_memory_and_the_dead_none() {
        assert!(peak_memory(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(peak_memory(u32::MAX), None);
    }

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal_name(9).as_deref(), Some("SIGKILL"));
        assert_eq!(signal_name(11).as_deref(), Some("SIGSEGV"));
        assert_eq!(signal_name(64), None);
    }
}
