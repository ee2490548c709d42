//! Runs tests by name, as libtest does.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::expected;
use crate::walk;

/// Runs those documents whose names the arguments ask for.
pub(crate) fn run(documents: &[(&str, &str)]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        let is = |wanted: &&String| match has("--exact") {
            true => *wanted == name,
            false => name.contains(wanted.as_str()),
        };
        wanted.is_empty() || wanted.iter().any(is)
    };
    let documents: Vec<_> = documents
        .iter()
        .filter(|(name, _)| is_wanted(name) && !has("--ignored"))
        .collect();
    if has("--list") {
        for (name, _) in documents {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    expected::check();
    let threads = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--test-threads="));
    let threads = threads.and_then(|threads| threads.parse().ok());
    let threads = threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(documents.len()) {
            scope.spawn(|| {
                while let Some((name, file)) = documents.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let begun = Instant::now();
                    let walked = walk::walk(file);
                    let seconds = begun.elapsed().as_secs_f64();
                    match walked {
                        Ok(said) => println!("test {name} ... ok ({seconds:.1} s)\n{said}"),
                        Err(why) => {
                            println!("test {name} ... FAILED ({seconds:.1} s)\n{why}");
                            failed.lock().unwrap().push(*name);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if failed.is_empty() {
        println!("{} walk-throughs do what they say", documents.len());
        return ExitCode::SUCCESS;
    }
    println!("these do not: {}", failed.join(", "));
    ExitCode::FAILURE
}
