//! What goes to stdout.

use std::borrow::Cow;
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

/// Text that somebody else wrote, for one line of a terminal: what would
/// break the line, or steer the terminal, is shown and does nothing.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    Cow::Owned(line)
}

/// `1 dead letter`, `3 dead letters`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_on_its_line_and_does_not_steer_the_terminal() {
        assert_eq!(one_line("no route"), "no route");
        assert_eq!(one_line("a\nb\u{1b}[31mß"), "a\\nb\\u{1b}[31mß");
    }
}
