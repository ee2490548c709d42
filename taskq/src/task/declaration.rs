//! When a task recurs, as its author wrote it.

use std::fmt;
use std::time::Duration;

use taskq_syntax::{Misfire, Overlap};

/// What `#[task(schedule = "..")]` says, checked when it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub(crate) when: &'static str,
    pub(crate) tz: Option<&'static str>,
    pub(crate) overlap: Overlap,
    pub(crate) misfire: Misfire,
    pub(crate) misfire_after: Option<Duration>,
    pub(crate) jitter: Option<Duration>,
}

impl Declaration {
    /// A schedule of a cron pattern in UTC, or of an interval.
    #[must_use]
    pub const fn new(when: &'static str) -> Self {
        Self {
            when,
            tz: None,
            overlap: Overlap::Allow,
            misfire: Misfire::Once,
            misfire_after: None,
            jitter: None,
        }
    }

    /// The time zone of the pattern.
    #[must_use]
    pub const fn tz(mut self, zone: &'static str) -> Self {
        self.tz = Some(zone);
        self
    }

    /// What becomes of a fire that meets the one before.
    #[must_use]
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// What becomes of a fire that was missed.
    #[must_use]
    pub const fn misfire(mut self, misfire: Misfire) -> Self {
        self.misfire = misfire;
        self
    }

    /// So long after its time a fire may start and is merely late.
    #[must_use]
    pub const fn misfire_after(mut self, after: Duration) -> Self {
        self.misfire_after = Some(after);
        self
    }

    /// Fires come up to so long after their time.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = Some(jitter);
        self
    }
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tz {
            Some(tz) => write!(f, "{} {tz}", self.when),
            None => f.write_str(self.when),
        }
    }
}
