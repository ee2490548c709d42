//! What a task takes at most: a worker shares its memory and time with others.

#![allow(dead_code, reason = "which of it is used depends on the features")]

use taskq::TaskError;

/// The most bytes that a text may have: 8 MiB.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// The most bytes that a file may have, as it comes and as it goes: 64 MiB.
pub const MAX_FILE_BYTES: usize = 64 << 20;

/// The most numbers that a series may have: a million.
pub const MAX_NUMBERS: usize = 1_000_000;

/// A permanent error when something is larger than it may be: another attempt
/// would find it as large.
pub(crate) fn at_most(what: &str, is: usize, most: usize, unit: &str) -> Result<(), TaskError> {
    if is <= most {
        return Ok(());
    }
    Err(TaskError::permanent(format!(
        "{what} has {is} {unit}, and may have at most {most}; send it in parts"
    )))
}

/// A permanent error when a number is not where it must be.
pub(crate) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    what: &str,
    is: T,
    least: T,
    most: T,
) -> Result<T, TaskError> {
    if is >= least && is <= most {
        return Ok(is);
    }
    Err(TaskError::permanent(format!(
        "{what} is {is}, and must be from {least} to {most}"
    )))
}

/// A permanent error when a series is empty, too long, or has what is no
/// number.
pub(crate) fn finite(what: &str, numbers: &[f64]) -> Result<(), TaskError> {
    if numbers.is_empty() {
        return Err(TaskError::permanent(format!(
            "{what} is empty; send at least one number"
        )));
    }
    at_most(what, numbers.len(), MAX_NUMBERS, "numbers")?;
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(()),
        Some(place) => Err(TaskError::permanent(format!(
            "{what}[{place}] is no finite number"
        ))),
    }
}
