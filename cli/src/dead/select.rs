//! Which dead letters.

use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DeadFilter};
use taskq::{Client, DeadLetter, DeadReason, TaskId, Timestamp};

use crate::moment::moment;
use crate::output;

/// Those for which all that is set holds.
#[derive(clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct Filters {
    /// Of this queue
    #[arg(long, env = "TASKQ_QUEUE", value_name = "NAME")]
    queue: Option<String>,

    /// Of this task
    #[arg(long, env = "TASKQ_TASK", value_name = "NAME")]
    task: Option<String>,

    /// For this reason: exhausted, permanent, undecodable, unknown_task, expired, crashed
    #[arg(long, env = "TASKQ_REASON", value_name = "REASON")]
    reason: Option<DeadReason>,

    /// With this text in the last error, in upper or lower case
    #[arg(long, env = "TASKQ_ERROR", value_name = "TEXT")]
    error: Option<String>,

    /// Given up since then: so long ago, such as 2h, or a time, such as 2026-11-22T04:32:01Z
    #[arg(long, env = "TASKQ_SINCE", value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Given up before then
    #[arg(long, env = "TASKQ_UNTIL", value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,

    /// At most so many, the oldest
    #[arg(long, env = "TASKQ_LIMIT", value_name = "COUNT")]
    limit: Option<usize>,
}

/// Some by their ids, or all that fit the filters.
#[derive(clap::Args)]
pub(super) struct Select {
    /// Ids of the tasks [default: all that fit]
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    #[command(flatten)]
    filters: Filters,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// The oldest first; or in the order of their ids.
    pub(super) letters: Vec<DeadLetter>,
    /// How many more there are, above the limit.
    more: usize,
    /// The ids that have no dead letter.
    missing: Vec<String>,
}

impl Filters {
    fn filter(&self, id: Option<&str>) -> DeadFilter {
        DeadFilter {
            id: id.map(TaskId::from),
            queue: self.queue.clone(),
            task: self.task.clone(),
            reason: self.reason,
            error: self.error.clone(),
            since: self.since,
            until: self.until,
        }
    }

    /// Whether all dead letters fit.
    fn are_none(&self) -> bool {
        self.filter(None) == DeadFilter::default() && self.limit.is_none()
    }

    async fn read(
        &self,
        client: &Client,
        id: Option<&str>,
        found: &mut Found,
    ) -> taskq::Result<()> {
        let most = self.limit.unwrap_or(usize::MAX);
        let mut letters = admin::dead_letters(client, self.filter(id)).await?.boxed();
        while let Some(letter) = letters.try_next().await? {
            if found.letters.len() < most {
                found.letters.push(letter);
            } else {
                found.more += 1;
            }
        }
        Ok(())
    }

    pub(super) async fn find(&self, client: &Client) -> taskq::Result<Found> {
        let mut found = Found::default();
        self.read(client, None, &mut found).await?;
        Ok(found)
    }
}

impl Select {
    pub(super) async fn find(&self, client: &Client) -> taskq::Result<Found> {
        if self.ids.is_empty() {
            return self.filters.find(client).await;
        }
        let mut found = Found::default();
        for id in &self.ids {
            let before = found.letters.len() + found.more;
            self.filters.read(client, Some(id), &mut found).await?;
            if found.letters.len() + found.more == before {
                found.missing.push(id.clone());
            }
        }
        Ok(found)
    }

    /// Whether every dead letter is meant.
    pub(super) fn is_all(&self) -> bool {
        self.ids.is_empty() && self.filters.are_none()
    }
}

impl Found {
    /// Tells a person what is not there, and what is not shown; whether all
    /// that was named is there.
    pub(super) fn tell_rest(&self) -> bool {
        if self.more > 0 {
            eprintln!(
                "{} more fit; `--limit` leaves them out",
                output::count(self.more, "dead letter")
            );
        }
        for id in &self.missing {
            eprintln!(
                "there is no such dead letter of task {id}; `taskq status {id}` tells where the \
                 task is"
            );
        }
        self.missing.is_empty()
    }

    /// `3 dead letters: 2 exhausted, 1 permanent`
    pub(super) fn sentence(&self) -> String {
        let mut text = output::count(self.letters.len(), "dead letter");
        let mut parts = Vec::new();
        for reason in DeadReason::ALL {
            let of_it = |letter: &&DeadLetter| letter.reason == reason;
            let number = self.letters.iter().filter(of_it).count();
            if number > 0 {
                parts.push(format!("{number} {reason}"));
            }
        }
        if !parts.is_empty() {
            text.push_str(": ");
            text.push_str(&parts.join(", "));
        }
        text
    }
}
