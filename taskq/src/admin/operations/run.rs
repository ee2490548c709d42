//! Running an operation: under a lease, a few tasks at once, its place noted
//! as it goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::act::act;
use super::{
    KEEP, Operation, OperationError, OperationState, PART, encode, ledger, list, parts, read, tell,
};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{EventKind, TaskId};

/// For how long an operation is its runner's without a sign of life.
const LEASE: Duration = Duration::from_secs(10);
/// So often a runner that waits for its rate gives a sign.
const SIGN: Duration = Duration::from_secs(2);
/// So many tasks are acted on between two notes of the place.
const BATCH: u32 = 64;
/// The longest pause between two tasks, in seconds.
const LONGEST: f64 = 24.0 * 3600.0;
/// How many tasks are acted on at once.
const AT_ONCE: usize = 16;
/// How many of those that failed are noted with the reason.
const MOST_ERRORS: usize = 10;

/// The operations that nobody runs, the oldest first.
///
/// # Errors
/// As [`list`].
pub async fn waiting(client: &Client) -> Result<Vec<Operation>> {
    let now = client.0.broker.now();
    let mut found = list(client).await?;
    found.retain(|operation| {
        operation.state == OperationState::Running
            && operation.runner_until.is_none_or(|until| until < now)
    });
    found.reverse();
    Ok(found)
}

/// Runs an operation to its end, as the runner of this name, which is nobody
/// else's; from where it is, if another had begun. None if another runs it, or
/// has taken it over.
///
/// # Errors
/// As of [`get`](super::get); an error of NATS leaves the operation to whoever
/// runs it next.
pub async fn run(client: &Client, id: &str, runner: &str) -> Result<Option<Operation>> {
    let Some(mut operation) = note(client, id, runner, |_| {}).await? else {
        return Ok(None);
    };
    let mut part: Option<(u64, Vec<TaskId>)> = None;
    while operation.state == OperationState::Running {
        let started = Instant::now();
        let number = operation.done / PART as u64;
        let ids = match part.take() {
            Some((known, ids)) if known == number => ids,
            _ => targets(client, id, number).await?,
        };
        let from = usize::try_from(operation.done % PART as u64).unwrap_or(0);
        let most = operation.rate.map_or(BATCH, per_batch);
        let batch = ids.iter().skip(from);
        let batch = batch.take(usize::try_from(most).unwrap_or(1));
        let batch: Vec<TaskId> = batch.cloned().collect();
        let many = u32::try_from(batch.len()).unwrap_or(BATCH);
        let acted = act_on(client, &operation, batch).await?;
        let Some(noted) = note(client, id, runner, |now| acted.add_to(now)).await? else {
            return Ok(None);
        };
        operation = noted;
        if let (Some(rate), OperationState::Running) = (operation.rate, operation.state) {
            // However low the rate is, this is a time.
            let pause = (f64::from(many) / rate).min(LONGEST);
            let pause = Duration::from_secs_f64(pause);
            if !keep(client, id, runner, started + pause).await? {
                return Ok(None);
            }
        }
        part = Some((number, ids));
    }
    if operation.state == OperationState::Done {
        tell(client, EventKind::OperationDone, &operation, &operation.by).await;
    }
    let ledger = ledger(client)?;
    ledger.drop_targets(id, parts(&operation)).await?;
    Ok(Some(operation))
}

/// How many tasks are acted on between two pauses: about as many as a second
/// has.
fn per_batch(rate: f64) -> u32 {
    let mut most = 1;
    while most < BATCH && f64::from(most) < rate / 4.0 {
        most += 1;
    }
    most
}

/// Waits, and keeps the operation meanwhile; false if another has taken it.
async fn keep(client: &Client, id: &str, runner: &str, until: Instant) -> Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        tokio::time::sleep(left.min(SIGN)).await;
        if left <= SIGN {
            return Ok(true);
        }
        match note(client, id, runner, |_| {}).await? {
            Some(operation) if operation.state == OperationState::Running => {}
            Some(_) => return Ok(true),
            None => return Ok(false),
        }
    }
}

async fn targets(client: &Client, id: &str, part: u64) -> Result<Vec<TaskId>> {
    let stored = ledger(client)?.targets(id, part).await?;
    let ids = stored.and_then(|body| serde_json::from_slice(&body).ok());
    ids.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("the tasks of operation {id} are not there any more; cancel it"),
        )
    })
}

/// What became of some tasks.
#[derive(Default)]
struct Acted {
    tasks: u64,
    outcomes: BTreeMap<&'static str, u64>,
    errors: Vec<OperationError>,
}

impl Acted {
    fn add_to(&self, operation: &mut Operation) {
        operation.done += self.tasks;
        for (outcome, many) in &self.outcomes {
            *operation.outcomes.entry((*outcome).to_owned()).or_default() += many;
        }
        let room = MOST_ERRORS.saturating_sub(operation.errors.len());
        let errors = self.errors.iter().take(room).cloned();
        operation.errors.extend(errors);
    }
}

/// Acts on some tasks. An error that another try may mend is this call's: they
/// are all acted on once more then.
async fn act_on(client: &Client, operation: &Operation, ids: Vec<TaskId>) -> Result<Acted> {
    let acts = stream::iter(ids).map(|id| one(client, operation, id));
    let done: Vec<One> = acts.buffered(AT_ONCE).try_collect().await?;
    let mut acted = Acted::default();
    for (outcome, error) in done {
        acted.tasks += 1;
        *acted.outcomes.entry(outcome).or_default() += 1;
        acted.errors.extend(error);
    }
    Ok(acted)
}

/// What became of one task, and why not.
type One = (&'static str, Option<OperationError>);

async fn one(client: &Client, operation: &Operation, id: TaskId) -> Result<One> {
    match act(client, operation, &id).await {
        Ok(outcome) => Ok((outcome, None)),
        Err(error) if error.is_retryable() && error.kind() != ErrorKind::QueueFull => Err(error),
        Err(error) => {
            let error = error.to_string();
            Ok(("failed", Some(OperationError { id, error })))
        }
    }
}

/// Notes what has been done, and keeps the operation for a while more. None
/// where another runs it.
async fn note(
    client: &Client,
    id: &str,
    runner: &str,
    change: impl Fn(&mut Operation),
) -> Result<Option<Operation>> {
    let ledger = ledger(client)?;
    loop {
        let record = ledger.operation(id).await?;
        let mut operation = read(id, &record)?;
        let now = client.0.broker.now();
        let is_ours = operation.runner.as_deref() == Some(runner);
        if !is_ours {
            let is_kept = operation.runner_until.is_some_and(|until| until >= now);
            if operation.state != OperationState::Running || is_kept {
                return Ok(None);
            }
            operation.runner = Some(runner.to_owned());
        }
        change(&mut operation);
        operation.runner_until = Some(now.plus(LEASE));
        let mut keep = None;
        if operation.state == OperationState::Running && operation.done >= operation.total {
            operation.state = OperationState::Done;
            operation.finished_at = Some(now);
        }
        if operation.state != OperationState::Running {
            operation.runner_until = None;
            keep = Some(KEEP);
        }
        let body = encode(&operation);
        if ledger
            .write_operation(id, body, record.revision, keep)
            .await?
        {
            return Ok(Some(operation));
        }
        // Somebody has changed it meanwhile: cancelled it, or taken it over.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_part_of_a_second_of_its_rate() {
        for (rate, batch) in [(0.1, 1), (1.0, 1), (50.0, 13), (10_000.0, BATCH)] {
            assert_eq!(per_batch(rate), batch, "{rate}");
        }
    }
}
