//! Which queues a worker serves, and how it divides its room among them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The greatest weight of a queue.
const HEAVIEST: u32 = 1000;

/// A queue that a worker serves, and its weight among the worker's others.
///
/// Made from a name, from a name and a weight, or read from `email:3`.
///
/// ```
/// use taskq::QueueWeight;
///
/// let queue: QueueWeight = "email:3".parse()?;
/// assert_eq!((queue.name(), queue.weight()), ("email", Some(3)));
/// assert_eq!(queue, ("email", 3).into());
/// assert_eq!(queue.to_string(), "email:3");
/// assert_eq!(QueueWeight::from("email").weight(), None);
/// # Ok::<(), taskq::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueWeight {
    name: String,
    weight: Option<u32>,
}

impl QueueWeight {
    /// The queue.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its weight, if it has one.
    #[must_use]
    pub fn weight(&self) -> Option<u32> {
        self.weight
    }
}

impl fmt::Display for QueueWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            Some(weight) => write!(f, "{}:{weight}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<&str> for QueueWeight {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<&String> for QueueWeight {
    fn from(name: &String) -> Self {
        name.to_owned().into()
    }
}

impl From<String> for QueueWeight {
    fn from(name: String) -> Self {
        Self { name, weight: None }
    }
}

impl<S: Into<String>> From<(S, u32)> for QueueWeight {
    fn from((name, weight): (S, u32)) -> Self {
        Self {
            name: name.into(),
            weight: Some(weight),
        }
    }
}

impl FromStr for QueueWeight {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((name, weight)) = text.split_once(':') else {
            return Ok(text.into());
        };
        let weight = weight.parse().map_err(|_| {
            Error::invalid(format!(
                "`{text}` is not a queue: write its name, or a name and a weight, such as \
                 `{name}:3`"
            ))
        })?;
        Ok((name, weight).into())
    }
}

/// The names of queues, sorted, and their weights if any has one.
pub(super) fn check(mut queues: Vec<QueueWeight>) -> Result<(Vec<String>, Option<Vec<u32>>)> {
    for QueueWeight { name, weight } in &queues {
        taskq_syntax::check_queue_name(name)?;
        if weight.is_some_and(|weight| !(1..=HEAVIEST).contains(&weight)) {
            return Err(Error::invalid(format!(
                "the weight of queue `{name}` is 1 to {HEAVIEST}; leave the queue out to get \
                 nothing of it"
            )));
        }
    }
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    for pair in queues.windows(2) {
        if let [one, other] = pair
            && one.name == other.name
            && one.weight != other.weight
        {
            return Err(Error::invalid(format!(
                "queue `{}` is named twice, with different weights; name it once",
                one.name
            )));
        }
    }
    queues.dedup();
    let is_weighted = queues.iter().any(|queue| queue.weight.is_some());
    let weights = queues.iter().map(|queue| queue.weight.unwrap_or(1));
    let weights = is_weighted.then(|| weights.collect());
    Ok((
        queues.into_iter().map(|queue| queue.name).collect(),
        weights,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_and_a_queue_without_one_has_one() {
        let queues = vec!["b:3".parse().unwrap(), "a".into()];
        let (names, weights) = check(queues).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(weights, Some(vec![1, 3]));
        assert_eq!(check(vec!["a".into(), "a".into()]).unwrap().1, None);
    }

    #[test]
    fn weights_that_make_no_sense_are_refused() {
        assert!("a:x".parse::<QueueWeight>().is_err());
        assert!("a:-1".parse::<QueueWeight>().is_err());
        assert!(check(vec![("a", 0).into()]).is_err());
        assert!(check(vec![("a", 1).into(), ("a", 2).into()]).is_err());
        assert!(check(vec![("a b", 1).into()]).is_err());
    }
}
