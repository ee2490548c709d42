//! Who gives a command, for the record.

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
