//! What must hold of a history besides the promises: one fire for each time of
//! a schedule, and one task at a time of each key.

use std::collections::{BTreeMap, HashMap};

use taskq::Timestamp;

use crate::history::{History, What};

/// The fires of a schedule that began, by nominal time: their ids, and how
/// often each began.
pub type Fires = BTreeMap<i64, BTreeMap<String, u32>>;

/// Those of a history, of one schedule.
#[must_use]
pub fn fires(history: &History, schedule: &str) -> Fires {
    let mut fires = Fires::new();
    for note in history.notes() {
        let id = note.id.as_str();
        let Some((time, _)) = id
            .strip_prefix(schedule)
            .and_then(|rest| rest.strip_prefix('@'))
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        if note.what == What::Start {
            let nominal: Timestamp = time.parse().unwrap();
            let of_time = fires.entry(nominal.as_millis()).or_default();
            *of_time.entry(id.to_owned()).or_default() += 1;
        }
    }
    fires
}

/// One fire for each of the times, and none left out between them.
#[track_caller]
pub fn assert_one_fire_each(fires: &Fires, period_ms: i64) {
    for (nominal, ids) in fires {
        assert_eq!(ids.len(), 1, "at {nominal}: {ids:?}");
    }
    let times: Vec<i64> = fires.keys().copied().collect();
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], period_ms, "{times:?}");
    }
}

/// Fails if two tasks of a key ran at once. What a worker ran when it was
/// killed, or frozen, ran until then.
pub fn never_two_at_once(history: &History, gone: &HashMap<String, u128>) {
    let notes = history.notes();
    let mut ends = HashMap::new();
    for note in notes.iter().filter(|note| note.what == What::Finish) {
        ends.insert(
            (note.id.clone(), note.attempt, note.worker.clone()),
            note.micros,
        );
    }
    let mut runs: HashMap<String, Vec<(u128, u128)>> = HashMap::new();
    for note in notes.iter().filter(|note| note.what == What::Start) {
        let run = (note.id.clone(), note.attempt, note.worker.clone());
        let finish = ends.get(&run).copied();
        let gone = gone.get(&note.worker).copied();
        let end = finish.into_iter().chain(gone).min();
        let end = end.unwrap_or_else(|| panic!("{note:?} has no end"));
        let key = note.id.as_str().split('.').next().unwrap().to_owned();
        // What was frozen before it began runs when it is thawed, and is
        // stopped: it has lost its lease.
        if end >= note.micros {
            runs.entry(key).or_default().push((note.micros, end));
        }
    }
    for (key, mut runs) in runs {
        runs.sort_unstable();
        for pair in runs.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "two of {key} at once: {pair:?}");
        }
    }
}
