//! Whose turn it is, of the fires of one schedule that may not overlap.

use serde::{Deserialize, Serialize};
use taskq_syntax::Overlap;

use crate::message::TaskId;
use crate::time::Timestamp;

/// Who runs, and who waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<Fire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<Fire>,
}

/// A fire of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Fire {
    pub(crate) nominal: Timestamp,
    pub(crate) id: TaskId,
}

/// What a fire does, given whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It runs, once this is written, if it is anything new.
    Run(Option<Turn>),
    /// It comes back later, once this is written, if it is anything new; and
    /// this one is to be cancelled.
    Wait {
        turn: Option<Turn>,
        cancel: Option<TaskId>,
    },
    /// It ends without a run, because of this.
    Skip(String),
}

/// Decides about a fire; `lives` tells whether another has not ended.
pub(crate) fn take_turn(
    overlap: Overlap,
    me: &Fire,
    turn: &Turn,
    lives: impl Fn(&Fire) -> bool,
) -> Step {
    let other = |fire: &Option<Fire>| fire.clone().filter(|fire| fire != me && lives(fire));
    if overlap == Overlap::Allow || turn.holder.as_ref() == Some(me) {
        return Step::Run(None);
    }
    let (holder, waiting) = (other(&turn.holder), other(&turn.waiting));
    let is_newer = |fire: &Option<Fire>| fire.as_ref().is_some_and(|fire| me < fire);
    if overlap == Overlap::Replace && (is_newer(&holder) || is_newer(&waiting)) {
        let newer = waiting
            .or(holder)
            .map_or_else(String::new, |fire| fire.id.to_string());
        return Step::Skip(format!("replaced by {newer}"));
    }
    let wait = |holder: Option<Fire>, cancel| {
        let next = Turn {
            holder,
            waiting: Some(me.clone()),
        };
        Step::Wait {
            turn: (next != *turn).then_some(next),
            cancel,
        }
    };
    match (holder, waiting) {
        // One that has waited longer goes first.
        (None, Some(first)) if overlap == Overlap::QueueOne && first < *me => {
            wait(Some(first), None)
        }
        (None, waiting) => Step::Run(Some(Turn {
            holder: Some(me.clone()),
            waiting,
        })),
        (Some(holder), _) if overlap == Overlap::Skip => {
            Step::Skip(format!("{} has not ended", holder.id))
        }
        (Some(holder), Some(first)) if overlap == Overlap::QueueOne => Step::Skip(format!(
            "{} has not ended, and {} waits already",
            holder.id, first.id
        )),
        (Some(holder), _) => {
            let cancel = (overlap == Overlap::Replace).then(|| holder.id.clone());
            wait(Some(holder), cancel)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn fire(nominal: i64) -> Fire {
        Fire {
            nominal: Timestamp::from_millis(nominal),
            id: format!("f@{nominal}").into(),
        }
    }

    fn turn(holder: Option<i64>, waiting: Option<i64>) -> Turn {
        Turn {
            holder: holder.map(fire),
            waiting: waiting.map(fire),
        }
    }

    fn step(overlap: Overlap, me: i64, now: &Turn) -> Step {
        take_turn(overlap, &fire(me), now, |_| true)
    }

    #[test]
    fn a_fire_meets_the_one_before_as_the_policy_says() {
        let busy = turn(Some(1), None);
        assert_eq!(step(Overlap::Allow, 2, &busy), Step::Run(None));
        assert!(matches!(step(Overlap::Skip, 2, &busy), Step::Skip(_)));
        let waits = |cancel: Option<i64>| Step::Wait {
            turn: Some(turn(Some(1), Some(2))),
            cancel: cancel.map(|nominal| fire(nominal).id),
        };
        assert_eq!(step(Overlap::QueueOne, 2, &busy), waits(None));
        assert_eq!(step(Overlap::Replace, 2, &busy), waits(Some(1)));
        let full = turn(Some(1), Some(2));
        assert!(matches!(step(Overlap::QueueOne, 3, &full), Step::Skip(_)));
        // The one that waits goes on to wait, and writes nothing.
        let still = Step::Wait {
            turn: None,
            cancel: None,
        };
        assert_eq!(step(Overlap::QueueOne, 2, &full), still);
        // A newer one takes the place of the one that waits to replace.
        assert_eq!(
            step(Overlap::Replace, 3, &full),
            Step::Wait {
                turn: Some(turn(Some(1), Some(3))),
                cancel: Some(fire(1).id)
            }
        );
        assert!(matches!(
            step(Overlap::Replace, 2, &turn(Some(1), Some(3))),
            Step::Skip(_)
        ));
        assert!(matches!(
            step(Overlap::Replace, 2, &turn(Some(3), None)),
            Step::Skip(_)
        ));
    }

    #[test]
    fn who_has_ended_keeps_nobody_waiting() {
        let full = turn(Some(1), Some(2));
        for overlap in [Overlap::Skip, Overlap::QueueOne, Overlap::Replace] {
            let step = take_turn(overlap, &fire(3), &full, |_| false);
            assert_eq!(step, Step::Run(Some(turn(Some(3), None))), "{overlap}");
            // Delivered again, it goes on.
            assert_eq!(self::step(overlap, 1, &full), Step::Run(None));
        }
        // The one that waits goes before one that came after.
        let free = take_turn(Overlap::QueueOne, &fire(3), &full, |it| *it != fire(1));
        assert_eq!(
            free,
            Step::Wait {
                turn: Some(turn(Some(2), Some(3))),
                cancel: None
            }
        );
    }

    proptest! {
        /// Whatever comes when, no two run at once, and with none left to
        /// come whoever waits runs.
        #[test]
        fn no_two_run_at_once_and_who_waits_gets_its_turn(
            policy in 1usize..4, moves in prop::collection::vec((0u8..3, 0usize..8), 1..60)
        ) {
            let overlap = Overlap::ALL[policy];
            let mut now = Turn::default();
            let (mut count, mut running) = (0i64, HashSet::new());
            let mut open: Vec<Fire> = Vec::new();
            let look = |me: &Fire, now: &mut Turn, open: &mut Vec<Fire>, running: &mut HashSet<Fire>| {
                let lives = open.clone();
                let ended = match take_turn(overlap, me, now, |it| lives.contains(it)) {
                    Step::Run(turn) => {
                        if let Some(turn) = turn { *now = turn; }
                        running.insert(me.clone());
                        None
                    }
                    Step::Wait { turn, cancel } => {
                        if let Some(turn) = turn { *now = turn; }
                        cancel
                    }
                    Step::Skip(_) => Some(me.id.clone()),
                };
                if let Some(ended) = ended {
                    open.retain(|it| it.id != ended);
                    running.retain(|it| it.id != ended);
                }
            };
            for (kind, which) in moves {
                match kind {
                    0 => {
                        count += 1;
                        let me = fire(count);
                        open.push(me.clone());
                        look(&me, &mut now, &mut open, &mut running);
                    }
                    1 if !open.is_empty() => {
                        let me = open[which % open.len()].clone();
                        if !running.contains(&me) {
                            look(&me, &mut now, &mut open, &mut running);
                        }
                    }
                    _ => {
                        if let Some(done) = running.iter().next().cloned() {
                            running.remove(&done);
                            open.retain(|it| *it != done);
                        }
                    }
                }
                prop_assert!(running.len() <= 1, "{running:?}");
            }
            for _ in 0..10 {
                for me in open.clone() {
                    if !running.contains(&me) && open.contains(&me) {
                        look(&me, &mut now, &mut open, &mut running);
                        prop_assert!(running.len() <= 1, "{running:?}");
                    }
                }
                if let Some(done) = running.drain().next() {
                    open.retain(|it| *it != done);
                }
            }
            prop_assert!(open.is_empty(), "{open:?} {now:?}");
        }
    }
}
