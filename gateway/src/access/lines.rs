//! Files of which each line is about somebody.

use anyhow::{Context as _, bail};

/// Reads a line each, past empty ones and those that begin with `#`; two of one
/// name are refused.
pub(super) fn named<T>(
    text: &str,
    parse: impl Fn(&str) -> anyhow::Result<T>,
    name: impl Fn(&T) -> &String,
) -> anyhow::Result<Vec<T>> {
    let mut all: Vec<T> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let one = parse(line).with_context(|| format!("line {}", number + 1))?;
        if all.iter().any(|other| name(other) == name(&one)) {
            bail!("line {}: there are two lines of {}", number + 1, name(&one));
        }
        all.push(one);
    }
    Ok(all)
}

/// A name that such a line can begin with.
///
/// # Errors
/// When it cannot.
pub(super) fn check_name(name: &str) -> anyhow::Result<String> {
    let fits = !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('#')
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':');
    if !fits {
        bail!("`{name}` is no name: it has 1 to 128 bytes, no space and no `:`");
    }
    Ok(name.to_owned())
}
