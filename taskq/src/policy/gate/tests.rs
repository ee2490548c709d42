use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use taskq_syntax::Rate;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn limited(concurrency: u32) -> KeyLimits {
    KeyLimits {
        concurrency: Some(concurrency),
        ..KeyLimits::default()
    }
}

fn rated(text: &str, burst: u32) -> KeyLimits {
    KeyLimits {
        rate: Some((text.parse::<Rate>().unwrap(), burst)),
        ..KeyLimits::default()
    }
}

fn weighted(weight: u32) -> KeyLimits {
    KeyLimits {
        weight,
        ..KeyLimits::default()
    }
}

fn keys(gate: &mut Gate<u32>, now: Timestamp, most: usize) -> Vec<String> {
    let next = std::iter::from_fn(|| gate.next(now));
    next.take(most).map(|it| it.key.to_string()).collect()
}

#[test]
fn keys_take_turns_and_one_with_many_does_not_delay_another() {
    let mut gate = Gate::new();
    for n in 0..10_000 {
        gate.enter("flood", Priority::Normal, KeyLimits::default(), n);
    }
    gate.enter("late", Priority::Normal, KeyLimits::default(), 0);
    assert_eq!(keys(&mut gate, at(0), 2), ["flood", "late"]);
    assert_eq!(gate.waiting(), 9_999);
    assert_eq!(gate.released(), 2);
}

#[test]
fn a_key_has_as_many_turns_as_it_has_weight() {
    let mut gate = Gate::new();
    for n in 0..100 {
        gate.enter("three", Priority::Normal, weighted(3), n);
        gate.enter("one", Priority::Normal, weighted(1), n);
    }
    let taken = keys(&mut gate, at(0), 80);
    assert_eq!(taken.iter().filter(|key| *key == "three").count(), 60);
}

#[test]
fn a_full_key_waits_alone_and_goes_on_when_one_of_it_ends() {
    let mut gate = Gate::new();
    for n in 0..3 {
        gate.enter("a", Priority::Normal, limited(1), n);
        gate.enter("b", Priority::Normal, limited(2), n);
    }
    assert_eq!(keys(&mut gate, at(0), 9), ["a", "b", "b"]);
    gate.free(&"a".into());
    assert_eq!(keys(&mut gate, at(0), 9), ["a"]);
    gate.free(&"nobody".into());
    assert_eq!(gate.released(), 3);
}

#[test]
fn what_was_released_before_takes_a_place() {
    let mut gate = Gate::taking_over(at(0));
    let key = gate.occupy("a");
    gate.enter("a", Priority::Normal, limited(1), 1);
    assert!(gate.next(at(0)).is_none());
    gate.free(&key);
    assert_eq!(keys(&mut gate, at(0), 9), ["a"]);
}

#[test]
fn the_limits_of_the_latest_message_count() {
    let mut gate = Gate::new();
    gate.enter("a", Priority::Normal, limited(1), 1);
    gate.enter("a", Priority::Normal, limited(1), 2);
    assert_eq!(keys(&mut gate, at(0), 9).len(), 1);
    gate.enter("a", Priority::Normal, limited(3), 3);
    assert_eq!(keys(&mut gate, at(0), 9).len(), 2);
}

#[test]
fn a_rate_holds_back_until_it_says() {
    let mut gate = Gate::new();
    for n in 0..4 {
        gate.enter("a", Priority::Normal, rated("10/s", 2), n);
    }
    assert_eq!(keys(&mut gate, at(0), 9).len(), 2);
    assert_eq!(gate.wake_at(), Some(at(100)));
    assert_eq!(gate.rate_until("a", at(0)), Some(at(100)));
    assert!(gate.next(at(99)).is_none());
    assert_eq!(keys(&mut gate, at(100), 9).len(), 1);
    assert_eq!(keys(&mut gate, at(200), 9).len(), 1);
}

#[test]
fn who_takes_over_has_no_burst_to_spend() {
    let mut gate = Gate::taking_over(at(0));
    for n in 0..9 {
        gate.enter("a", Priority::Normal, rated("10/s", 5), n);
    }
    assert!(gate.next(at(0)).is_none());
    assert_eq!(keys(&mut gate, at(100), 9).len(), 1);
}

#[test]
fn the_urgent_have_more_turns_and_the_low_some() {
    let mut gate = Gate::new();
    for n in 0..200 {
        for (priority, _) in SHARES {
            gate.enter("a", priority, KeyLimits::default(), n);
        }
    }
    let mut counts = HashMap::new();
    for _ in 0..150 {
        let grant = gate.next(at(0)).unwrap();
        *counts.entry(grant.priority.as_str()).or_insert(0) += 1;
    }
    assert_eq!(
        (
            counts["critical"],
            counts["high"],
            counts["normal"],
            counts["low"]
        ),
        (80, 40, 20, 10)
    );
}

#[test]
fn what_has_ended_leaves_nothing_behind() {
    let mut gate = Gate::new();
    for n in 0..100 {
        let key = n.to_string();
        gate.enter(&key, Priority::Normal, rated("10/s", 1), n);
        gate.enter(&format!("{key}x"), Priority::Normal, limited(1), n);
    }
    let mut held = Vec::new();
    while let Some(grant) = gate.next(at(0)) {
        held.push(grant.key);
    }
    for key in &held {
        gate.free(key);
    }
    assert!(gate.next(at(100)).is_none());
    assert_eq!(gate.flows.len(), 0);
    assert_eq!(gate.later.len(), 0);
}

/// What happens at a gate.
#[derive(Clone, Debug)]
enum Step {
    Enter(usize, usize),
    Next,
    End(usize),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5usize, 0..4usize).prop_map(|(key, class)| Step::Enter(key, class)),
        4 => Just(Step::Next),
        3 => (0..64usize).prop_map(Step::End),
        1 => (1..400i64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Of no key more are released than its limit and its rate allow, in no
    /// window; nothing is lost; and when nothing is released, nothing may be.
    #[test]
    fn no_limit_is_exceeded_and_nothing_that_may_go_waits(
        limits in prop::collection::vec((prop::option::of(1..4u32), prop::option::of((1..20u32, 1..4u32)), 1..4u32), 5),
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let limits: Vec<KeyLimits> = limits
            .into_iter()
            .map(|(concurrency, rate, weight)| KeyLimits {
                concurrency,
                rate: rate.map(|(count, burst)| (Rate::new(count, Duration::from_secs(1)).unwrap(), burst)),
                weight,
            })
            .collect();
        let mut gate = Gate::new();
        let mut now = 0;
        let (mut entered, mut left) = (0usize, 0usize);
        let mut waiting = [0usize; 5];
        let mut held: Vec<usize> = Vec::new();
        let mut starts: [Vec<i64>; 5] = Default::default();
        let mut last: HashMap<(usize, Priority), usize> = HashMap::new();
        for step in steps {
            match step {
                Step::Enter(key, class) => {
                    gate.enter(names[key], SHARES[class].0, limits[key], entered);
                    entered += 1;
                    waiting[key] += 1;
                }
                Step::Pass(millis) => now += millis,
                Step::End(n) if !held.is_empty() => {
                    let key = held.swap_remove(n % held.len());
                    gate.free(&names[key].into());
                }
                Step::End(_) => {}
                Step::Next => match gate.next(at(now)) {
                    Some(grant) => {
                        let key = names.iter().position(|name| **name == *grant.key).unwrap();
                        held.push(key);
                        waiting[key] -= 1;
                        left += 1;
                        starts[key].push(now);
                        // Each line is first in, first out.
                        let before = last.insert((key, grant.priority), grant.item);
                        prop_assert!(before.is_none_or(|before| before < grant.item));
                    }
                    None => {
                        for key in 0..5 {
                            let of_key = held.iter().filter(|it| **it == key).count();
                            let full = limits[key].concurrency.is_some_and(|most| of_key >= most as usize);
                            let slow = gate.rate_until(names[key], at(now)).is_some();
                            prop_assert!(waiting[key] == 0 || full || slow, "{key} waits for nothing");
                        }
                    }
                },
            }
            for key in 0..5 {
                let of_key = held.iter().filter(|it| **it == key).count();
                prop_assert!(limits[key].concurrency.is_none_or(|most| of_key <= most as usize));
                if let Some((rate, burst)) = limits[key].rate {
                    for (place, first) in starts[key].iter().enumerate() {
                        for (more, last) in starts[key][place..].iter().enumerate() {
                            let window = u32::try_from(last - first).unwrap();
                            let most = burst + window * rate.count() / 1000;
                            prop_assert!(u32::try_from(more).unwrap() < most + 1, "{more} in {window} ms");
                        }
                    }
                }
            }
            prop_assert_eq!(gate.waiting(), entered - left);
            prop_assert_eq!(gate.released(), held.len());
        }
    }

    /// Between two releases of a key that could go on, each other key that
    /// may go has at most its weight.
    #[test]
    fn no_key_waits_for_more_than_a_turn_of_each_other(
        weights in prop::collection::vec(1..5u32, 2..8),
        rounds in 1..20usize,
    ) {
        let mut gate = Gate::new();
        for (key, weight) in weights.iter().enumerate() {
            for n in 0..200 {
                gate.enter(&key.to_string(), Priority::Normal, weighted(*weight), n);
            }
        }
        let most: u32 = weights.iter().sum();
        let mut waits = vec![0; weights.len()];
        for _ in 0..rounds * weights.len() {
            let grant = gate.next(at(0)).unwrap();
            let key: usize = grant.key.parse().unwrap();
            for (other, wait) in waits.iter_mut().enumerate() {
                *wait = if other == key { 0 } else { *wait + 1 };
                prop_assert!(*wait <= most);
            }
        }
    }
}
