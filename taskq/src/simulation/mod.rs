//! A deterministic simulation of workers and a broker that fail.
//!
//! One thread, one seed, a clock that only moves when something happens. The
//! broker behaves as JetStream does, down to what it forgets in a crash; the
//! workers take the library's own decisions ([`policy`](crate::policy),
//! [`Leases`](crate::broker::Leases), [`Ending`](crate::broker::ending), the
//! journal and the trail) and take each network step by itself, so that
//! anything can go wrong between any two. Then the faults end, and when
//! everything has come to rest the promises must hold.
//!
//! `TASKQ_SIM_SEEDS=100000` runs more seeds, `TASKQ_SIM_SEED=17` one, with
//! its trace.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "all of it is a test, which clippy knows of functions only"
)]

mod broker;
mod check;
mod client;
mod script;
mod worker;
mod world;

use self::world::World;

/// A deliberate mistake, to show that the checks would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// Matches nothing.
    None,
    AckBeforeOutcome,
    AckBeforePlan,
    /// No lease is ever taken for lost.
    NoFencing,
    /// A retry plan is stored whoever has the lease.
    PlanAfterLoss,
    /// What is handed back counts as an attempt.
    RefundsCounted,
    /// A redelivery is acked without an outcome.
    DiscardUnchecked,
    /// A redelivery runs whether or not there is an outcome.
    NoLookup,
    /// The dead letter of a refused outcome is kept.
    RefusalIgnored,
    /// The lease thread does not look while it waits for a renewal.
    BlindRenewal,
    /// Who was refused acks, whatever the first writer had left to do.
    AckWhenRefused,
    /// A lease counts from when the delivery is read.
    LeaseFromReading,
}

/// The first violation of a run, if there is one.
fn violation(seed: u64, mutation: Option<Mutation>) -> Option<String> {
    let mut world = World::new(seed, mutation, false);
    world.run();
    world.violation
}

/// The same run once more, in words.
fn trace(seed: u64, mutation: Option<Mutation>) -> (Option<String>, String) {
    let mut world = World::new(seed, mutation, true);
    world.run();
    (world.violation, world.trace.join("\n"))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_promises_hold_in_every_simulated_run() {
    if let Some(seed) = setting("TASKQ_SIM_SEED") {
        let (violation, trace) = trace(seed, None);
        println!("{trace}");
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    let seeds = setting("TASKQ_SIM_SEEDS").unwrap_or(3000);
    let started = std::time::Instant::now();
    for seed in 0..seeds {
        if let Some(found) = violation(seed, None) {
            let (again, trace) = trace(seed, None);
            assert_eq!(again.as_ref(), Some(&found), "seed {seed} does not replay");
            panic!("seed {seed} violates: {found}\n{trace}\n(replay: TASKQ_SIM_SEED={seed})");
        }
    }
    println!("{seeds} seeds in {:?}", started.elapsed());
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..50 {
        assert_eq!(trace(seed, None), trace(seed, None));
    }
}

/// Whether the checks find a mistake, by one of these rules. The search
/// begins at a seed that is known to do, so that it is short.
fn is_found(mutation: Mutation, first: u64, rules: &[&str]) {
    let found = (first..first + 10_000).find_map(|seed| {
        let text = violation(seed, Some(mutation))?;
        let known = rules.iter().any(|rule| text.starts_with(rule));
        known.then_some((seed, text))
    });
    let (seed, text) = found.unwrap_or_else(|| panic!("{mutation:?} is not found"));
    println!("{mutation:?}: seed {seed}: {text}");
}

const LOST: &str = "no task is lost";
const HELD: &str = "what runs is held by one";
const FENCED: &str = "what lost its lease stores nothing";
const ENDED: &str = "a task that ended does not run again";
const LETTERS: &str = "dead letters are those of the outcomes";
const REFUNDS: &str = "what is handed back is no attempt";
const CRASHES: &str = "only crashes put a message in quarantine";

#[test]
fn an_ack_before_the_outcome_is_found() {
    is_found(Mutation::AckBeforeOutcome, 0, &[LOST]);
}

#[test]
fn an_ack_before_the_plan_is_found() {
    is_found(Mutation::AckBeforePlan, 0, &[LOST]);
}

#[test]
fn a_missing_fence_is_found() {
    is_found(Mutation::NoFencing, 0, &[FENCED]);
    is_found(Mutation::NoFencing, 0, &[HELD]);
}

#[test]
fn a_plan_after_the_lease_was_lost_is_found() {
    is_found(Mutation::PlanAfterLoss, 0, &[FENCED]);
}

#[test]
fn a_refund_that_counts_is_found() {
    is_found(Mutation::RefundsCounted, 0, &[REFUNDS]);
    is_found(Mutation::RefundsCounted, 0, &[CRASHES]);
}

#[test]
fn a_discard_without_an_outcome_is_found() {
    is_found(Mutation::DiscardUnchecked, 0, &[LOST]);
}

#[test]
fn a_run_without_a_look_is_found() {
    is_found(Mutation::NoLookup, 0, &[ENDED]);
}

#[test]
fn a_letter_of_a_refused_outcome_is_found() {
    is_found(Mutation::RefusalIgnored, 0, &[LETTERS]);
}

#[test]
fn a_lease_thread_that_waits_is_found() {
    is_found(Mutation::BlindRenewal, 5330, &[HELD]);
}

#[test]
fn a_lease_that_counts_from_its_reading_is_found() {
    is_found(Mutation::LeaseFromReading, 0, &[HELD, FENCED]);
}

#[test]
fn an_ack_of_a_refused_outcome_is_found() {
    is_found(Mutation::AckWhenRefused, 0, &[LETTERS]);
}
