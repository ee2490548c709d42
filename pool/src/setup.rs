//! What a pool needs before its first worker: a name of its own, a folder, a
//! guard, and what the workers are told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use taskq::ErrorKind;
use taskq::admin::pools;
use taskq::pool::Requests;

use crate::decide::Rules;
use crate::guard::Guard;
use crate::keep::Pool;
use crate::process::Recipe;
use crate::{Args, Program, system};

/// What a worker may take to end beyond its grace.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: Args, ready_made: Program) -> anyhow::Result<()> {
    let rules = rules(&args)?;
    let name = name(args.name.as_deref())?;
    let client = args.connect.builder().name("taskq pool").results(false);
    let client = client.connect().await?;
    match pools::get(&client, &name).await {
        Ok(other) => bail!(
            "pool `{name}` runs already, on {}, process {}; give this one another name with \
             --name (TASKQ_POOL)",
            other.host.as_deref().unwrap_or("another machine"),
            other.process
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // The worker's role may not ask; then nobody is asked.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error.into()),
    }
    let requests = Requests::listen(&client, &name).await?;
    let folder = run_folder()?;
    let guard = Guard::start(&folder, args.grace + BEYOND_GRACE)
        .context("cannot start the shell that looks after the workers")?;
    let program = match &args.worker {
        Some(path) => Program {
            path: path.clone(),
            args: args.worker_args.clone(),
        },
        None => ready_made,
    };
    let recipe = Recipe {
        program: program.path,
        args: program.args,
        environment: environment(&args),
        run: folder,
        lines: args.lines.into(),
        patience: args.grace + BEYOND_GRACE,
    };
    let pool = Pool::new(name, rules, &args, client, recipe, guard);
    pool.keep(requests).await
}

fn rules(args: &Args) -> anyhow::Result<Rules> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let max = args.max.unwrap_or_else(|| processors.max(args.min));
    if max < args.min.max(1) {
        bail!(
            "a pool has at least {} workers and at most {max}: --max must be 1 or more, and no \
             less than --min",
            args.min
        );
    }
    if args.concurrency == 0 {
        bail!("a worker with no slots runs nothing: --concurrency must be 1 or more");
    }
    Ok(Rules {
        min: args.min,
        max,
        slots: args.concurrency,
        max_wait: args.max_wait,
        settle: args.settle,
    })
}

/// The pool's name, which is a part of file names and of its workers' names.
fn name(given: Option<&str>) -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let Some(name) = given else {
        let host = system::host().chars().take(64).collect::<String>();
        let host = host.replace(|c| !fits(c), "-");
        return Ok(if host.is_empty() {
            "pool".to_owned()
        } else {
            host
        });
    };
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        bail!("`{name}` is no name of a pool; use 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    Ok(name.to_owned())
}

/// A folder for what belongs to the workers while they live; in memory where
/// there is such a place, as notes are written at every start of a task.
fn run_folder() -> anyhow::Result<std::path::PathBuf> {
    let named = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("taskq-pool-");
        builder
    };
    let folder = named()
        .tempdir_in(Path::new("/dev/shm"))
        .or_else(|_| named().tempdir())
        .context("cannot make a folder for the workers' notes")?;
    // The guard removes it, whoever ends first.
    Ok(folder.keep())
}

/// What every worker is told.
fn environment(args: &Args) -> Vec<(&'static str, std::ffi::OsString)> {
    let queues: Vec<String> = args.queues.iter().map(ToString::to_string).collect();
    let mut set = args.connect.environment();
    set.extend([
        ("TASKQ_QUEUES", queues.join(",").into()),
        ("TASKQ_CONCURRENCY", args.concurrency.to_string().into()),
        ("TASKQ_GRACE", taskq::format_duration(args.grace).into()),
        ("TASKQ_LOG", args.log.log.clone().into()),
        ("TASKQ_LOG_FORMAT", args.log.log_format.as_str().into()),
    ]);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_a_name_that_can_be_a_part_of_others() {
        assert_eq!(name(Some("web-1.eu")).unwrap(), "web-1.eu");
        assert!(!name(None).unwrap().is_empty());
        for bad in ["", "a b", "a/b", "a:b", &"x".repeat(65)] {
            assert!(name(Some(bad)).is_err(), "{bad}");
        }
    }
}
