//! What goes to stdout.

use std::io::{Write as _, stdout};

use serde::Serialize;

/// Prints a line for a person.
pub(crate) fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}")?;
    Ok(())
}

/// Prints one JSON object as a line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string(value)?)
}
