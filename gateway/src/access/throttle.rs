//! How much one caller may ask for: requests in a second, logins in a minute,
//! streams at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many are remembered before those are forgotten that have asked for
/// nothing of late.
const MOST: usize = 10_000;

/// Who asks: by name, once that is known, or by address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    Name(String),
    Address(IpAddr),
    /// Without a socket there is no address.
    Nobody,
}

impl Asker {
    /// Who is known by an address only. Of IPv6 one has a whole network.
    pub(crate) fn at(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Address(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
            Some(address) => Self::Address(address),
            None => Self::Nobody,
        }
    }
}

/// A bucket of tokens for each asker, by the time at which it is full again.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// How long one token takes; zero where there is no limit.
    each: Duration,
    /// How long a whole bucket takes.
    full: Duration,
    askers: Mutex<HashMap<Asker, Instant>>,
}

impl Throttle {
    /// So many in a time, and as many at once.
    pub(crate) fn new(many: u32, within: Duration, at_once: u32) -> Self {
        let each = within.checked_div(many).unwrap_or(Duration::ZERO);
        Self {
            each,
            full: each * at_once,
            askers: Mutex::default(),
        }
    }

    /// Takes a token, or tells how long there will be none.
    pub(crate) fn take(&self, asker: Asker) -> Result<(), Duration> {
        self.take_at(asker, Instant::now())
    }

    fn take_at(&self, asker: Asker, now: Instant) -> Result<(), Duration> {
        if self.each.is_zero() {
            return Ok(());
        }
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        if askers.len() >= MOST {
            askers.retain(|_, full_at| *full_at > now);
        }
        let full_at = askers.get(&asker).copied().unwrap_or(now).max(now);
        let next = full_at + self.each;
        let ahead = next.duration_since(now);
        if ahead > self.full {
            return Err(ahead - self.full);
        }
        askers.insert(asker, next);
        Ok(())
    }
}

/// Counts what each asker has open.
#[derive(Clone, Debug)]
pub(crate) struct Opened<K: Eq + Hash> {
    most: usize,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Opened<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// One more, until it is dropped; none beyond the most.
    pub(crate) fn open(&self, asker: K) -> Option<Opening<K>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(asker.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        let open = Arc::clone(&self.open);
        Some(Opening { asker, open })
    }
}

/// One that is open.
#[derive(Debug)]
pub(crate) struct Opening<K: Eq + Hash> {
    asker: K,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash> Drop for Opening<K> {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.asker);
            }
        }
    }
}

tokio::task_local! {
    /// What a stream that is opened now keeps for as long as it lasts.
    static OPENING: Arc<Mutex<Option<Opening<Asker>>>>;
}

/// Answers with something at hand that the stream which is opened keeps.
pub(crate) async fn while_open<F: Future>(opening: Opening<Asker>, answer: F) -> F::Output {
    let opening = Arc::new(Mutex::new(Some(opening)));
    OPENING.scope(opening, answer).await
}

/// What a stream is to keep for as long as it lasts.
pub(crate) fn opening() -> Option<Opening<Asker>> {
    let taken = OPENING.try_with(|opening| {
        let mut opening = opening.lock().unwrap_or_else(PoisonError::into_inner);
        opening.take()
    });
    taken.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(name: &str) -> Asker {
        Asker::Name(name.to_owned())
    }

    #[test]
    fn each_asker_has_a_bucket_that_fills_as_time_passes() {
        let throttle = Throttle::new(10, Duration::from_secs(1), 3);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(throttle.take_at(asker("ada"), start), Ok(()));
        }
        let wait = throttle.take_at(asker("ada"), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(throttle.take_at(asker("bob"), start), Ok(()));
        assert_eq!(throttle.take_at(asker("ada"), start + wait), Ok(()));
        assert!(throttle.take_at(asker("ada"), start + wait).is_err());
        let later = start + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(throttle.take_at(asker("ada"), later), Ok(()));
        }
        assert!(throttle.take_at(asker("ada"), later).is_err());
        let none = Throttle::new(0, Duration::from_secs(1), 0);
        assert_eq!(none.take_at(asker("ada"), start), Ok(()));
    }

    #[test]
    fn what_is_closed_makes_room() {
        let opened = Opened::new(1);
        let first = opened.open(asker("ada"));
        assert!(first.is_some());
        assert!(opened.open(asker("ada")).is_none());
        assert!(opened.open(asker("bob")).is_some());
        drop(first);
        assert!(opened.open(asker("ada")).is_some());
    }

    #[test]
    fn one_network_of_ipv6_is_one_asker() {
        let at = |text: &str| Asker::at(text.parse().ok());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
