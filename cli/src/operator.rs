//! Who gives a command, for the record.

use crate::Common;

/// How something is done to many.
#[derive(clap::Args)]
pub(crate) struct How {
    /// Only list what would be done
    #[arg(long, env = "TASKQ_DRY_RUN")]
    pub(crate) dry_run: bool,

    /// Who does it, for the record [default: you, as user@host]
    #[arg(long, env = "TASKQ_BY", value_name = "WHO")]
    by: Option<String>,

    /// Print one JSON object a line, then a summary
    #[arg(long, env = "TASKQ_JSON")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl How {
    pub(crate) fn by(&self) -> String {
        self.by.clone().unwrap_or_else(name)
    }
}

/// `ada@host`, as far as the machine tells.
pub(crate) fn name() -> String {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let user = variable("USER")
        .or_else(|| variable("USERNAME"))
        .unwrap_or_else(|| "somebody".to_owned());
    match host() {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}

#[cfg(unix)]
fn host() -> Option<String> {
    let machine = rustix::system::uname();
    let host = machine.nodename().to_string_lossy();
    Some(host.into_owned()).filter(|host| !host.is_empty())
}

#[cfg(not(unix))]
fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_operator_has_a_name_without_a_machine_to_ask_too() {
        let name = super::name();
        assert!(!name.is_empty() && !name.starts_with('@'), "{name}");
    }
}
