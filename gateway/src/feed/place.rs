//! How far somebody has heard.

use std::fmt;
use std::str::FromStr;

use taskq::admin::Source;

/// A place in each of the two streams that events are read from: any replica
/// can go on from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// In the events.
    pub(crate) events: u64,
    /// In the outcomes.
    pub(crate) outcomes: u64,
}

impl Place {
    /// The place in a source.
    pub(crate) fn of(self, source: Source) -> u64 {
        match source {
            Source::Outcomes => self.outcomes,
            _ => self.events,
        }
    }

    pub(crate) fn pass(&mut self, source: Source, sequence: u64) {
        self.set(source, sequence.max(self.of(source)));
    }

    pub(crate) fn set(&mut self, source: Source, sequence: u64) {
        match source {
            Source::Outcomes => self.outcomes = sequence,
            _ => self.events = sequence,
        }
    }

    /// Whether nothing that is behind the other place is behind this one.
    pub(crate) fn has_passed(self, other: Self) -> bool {
        self.events >= other.events && self.outcomes >= other.outcomes
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.events, self.outcomes)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = || {
            let (events, outcomes) = text.split_once('-')?;
            Some(Self {
                events: events.parse().ok()?,
                outcomes: outcomes.parse().ok()?,
            })
        };
        place().ok_or_else(|| format!("`{text}` is no id of an event, such as 120-4512"))
    }
}
