//! What an index answers, kept to be compared with what another one does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use taskq::{DeadReason, Timestamp};

use super::{APART, id, questions};
use crate::index::{Index, LetterQuery, Order, TaskQuery, TaskState, TrendQuery};

/// How many pages of a question are read.
const PAGES: usize = 5;
/// How many tasks are asked for by their ids.
const BY_ID: u64 = 1000;

/// Of what the answers are.
pub(super) struct Asked {
    pub(super) tasks: u64,
    pub(super) start: i64,
    /// Tasks that something was done about after they had ended.
    pub(super) touched: Vec<String>,
}

/// What an index answers: each question, and the items that it was answered
/// with.
pub(super) struct Answers(Vec<(String, Vec<String>)>);

/// What two indexes differ in.
pub(super) struct Compared {
    pub(super) questions: usize,
    pub(super) answers: usize,
    /// What differs, and how.
    pub(super) different: Vec<String>,
}

impl Answers {
    /// Asks everything that an index can be asked.
    pub(super) async fn of(index: &Index, asked: &Asked) -> anyhow::Result<Self> {
        let mut answers = Self(Vec::new());
        let mut all = questions(asked.tasks, asked.start);
        let of_state = |states: Vec<TaskState>| TaskQuery {
            states,
            ..TaskQuery::default()
        };
        let each = TaskState::ALL.map(|state| (state.as_str(), of_state(vec![state])));
        all.extend(each);
        let unended = TaskState::ALL.into_iter().filter(|state| !state.is_end());
        all.push(("unended", of_state(unended.collect())));
        for dead in [true, false] {
            let dead = Some(dead);
            let query = TaskQuery {
                dead,
                ..TaskQuery::default()
            };
            all.push(("dead or not", query));
        }
        for (name, query) in all {
            for order in [Order::Newest, Order::Oldest] {
                let query = TaskQuery {
                    order,
                    ..query.clone()
                };
                answers.tasks(index, name, query, PAGES).await?;
            }
        }
        let every = TaskQuery {
            limit: 500,
            ..TaskQuery::default()
        };
        answers
            .tasks(index, "every task", every, usize::MAX)
            .await?;
        answers.letters(index).await?;
        answers.sums(index, asked).await?;
        let step = usize::try_from(asked.tasks / BY_ID).unwrap_or(1).max(1);
        let mut ids: Vec<String> = (1..=asked.tasks).step_by(step).map(id).collect();
        ids.extend(asked.touched.iter().cloned());
        let mut items = Vec::new();
        for id in ids {
            items.push(text(&index.task(id).await?)?);
        }
        answers.0.push(("by id".to_owned(), items));
        Ok(answers)
    }

    async fn tasks(
        &mut self,
        index: &Index,
        name: &str,
        mut query: TaskQuery,
        pages: usize,
    ) -> anyhow::Result<()> {
        let question = format!("{name}, {:?} first", query.order);
        let mut items = Vec::new();
        for _ in 0..pages {
            let page = index.tasks(query.clone()).await?;
            for task in &page.tasks {
                let whole = text(task)?;
                // Of a million the whole texts would be too much.
                items.push(match pages {
                    usize::MAX => brief(&task.id, &whole),
                    _ => whole,
                });
            }
            let Some(next) = page.next else { break };
            items.push(format!("next: {next}"));
            query.after = Some(next);
        }
        self.0.push((question, items));
        Ok(())
    }

    async fn letters(&mut self, index: &Index) -> anyhow::Result<()> {
        let some = |text: &str| Some(text.to_owned());
        let base = || LetterQuery {
            limit: 500,
            ..LetterQuery::default()
        };
        let of_task = LetterQuery {
            task: some("task_3"),
            ..base()
        };
        let of_queue = LetterQuery {
            queue: some("queue-2"),
            order: Order::Oldest,
            ..base()
        };
        let of_reason = LetterQuery {
            reason: Some(DeadReason::Expired),
            ..base()
        };
        for (name, mut query, pages) in [
            ("every letter", base(), usize::MAX),
            ("letters of a task", of_task, PAGES),
            ("letters of a queue", of_queue, PAGES),
            ("letters of a reason", of_reason, PAGES),
        ] {
            let mut items = Vec::new();
            for _ in 0..pages {
                let page = index.letters(query.clone()).await?;
                for letter in &page.letters {
                    items.push(brief(&letter.id, &text(letter)?));
                }
                let Some(next) = page.next else { break };
                items.push(format!("next: {next}"));
                query.after = Some(next);
            }
            self.0.push((name.to_owned(), items));
        }
        Ok(())
    }

    /// What is counted: all, of the last part of the time, by parts of it.
    async fn sums(&mut self, index: &Index, asked: &Asked) -> anyhow::Result<()> {
        let span = i64::try_from(asked.tasks)?.saturating_mul(APART);
        let at = |share: i64| Timestamp::from_millis(asked.start + span / 100 * share);
        let counts = text(&index.counts().await?)?;
        self.0.push(("counts".to_owned(), vec![counts]));
        for share in [0, 50, 99] {
            let recent = index.recent(at(share), at(99)).await?;
            let recent = text(&json!([recent.states, recent.latest]))?;
            let types = index.types_since(at(share)).await?;
            let mut items = vec![recent];
            for of_type in &types {
                items.push(text(of_type)?);
            }
            for (task, queue) in [
                (None, None),
                (Some("even".to_owned()), None),
                (None, Some("queue-2".to_owned())),
            ] {
                let query = TrendQuery {
                    since: at(share),
                    step: Duration::from_secs(60),
                    task,
                    queue,
                };
                let trend = index.trend(query).await?;
                for part in &trend.ended {
                    items.push(text(&part)?);
                }
                for timed in &trend.timed {
                    items.push(text(timed)?);
                }
            }
            self.0.push((format!("sums since {share} %"), items));
        }
        Ok(())
    }

    /// Item by item, in their order.
    pub(super) fn compare(&self, other: &Self) -> Compared {
        let mut compared = Compared {
            questions: self.0.len(),
            answers: 0,
            different: Vec::new(),
        };
        for ((question, ours), (_, theirs)) in self.0.iter().zip(&other.0) {
            let most = ours.len().max(theirs.len());
            compared.answers += most;
            for place in 0..most {
                let (one, two) = (ours.get(place), theirs.get(place));
                if one != two {
                    let none = || "nothing".to_owned();
                    compared.different.push(format!(
                        "{question}, {place}: {} and {}",
                        one.cloned().unwrap_or_else(none),
                        two.cloned().unwrap_or_else(none),
                    ));
                }
            }
        }
        compared
    }
}

fn text(item: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string(item)?)
}

fn brief(id: &str, whole: &str) -> String {
    let mut hasher = DefaultHasher::new();
    whole.hash(&mut hasher);
    format!("{id} {:016x}", hasher.finish())
}
