//! Task ids: UUIDv7 whose last 48 bits name the sender, so that one
//! subscription covers every outcome that a sender waits for.

use std::fmt;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of one sent call, unique in its namespace.
///
/// taskq makes UUIDv7: sortable by time, and with the sender in the last
/// group. Any other text is an id too: Taskiq's 32 hex digits, or an order
/// number that makes an enqueue idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part of the id that names its sender: the last group of a UUID
    /// (12 hex digits, also where the key of a burst follows), or `x` for an
    /// id of any other form. An outcome's
    /// subject has it as a token of its own.
    #[must_use]
    pub fn origin(&self) -> &str {
        // A burst's is that of its first call.
        let text = match self.burst() {
            Some(_) => &self.0[..36],
            None => self.0.as_str(),
        };
        let is_uuid = match text.len() {
            36 => text.as_bytes()[23] == b'-',
            32 => true,
            _ => false,
        };
        match text.get(text.len().saturating_sub(12)..) {
            Some(tail) if is_uuid && tail.bytes().all(|b| b.is_ascii_hexdigit()) => tail,
            _ => "x",
        }
    }
}

impl TaskId {
    /// The same id as that of a burst of calls, of this key: a digest.
    pub(crate) fn of_burst(&self, key: &str) -> Self {
        Self(format!("{}~{key}", self.0))
    }

    /// The key of the burst of calls that the task is of, if it is of one.
    pub(crate) fn burst(&self) -> Option<&str> {
        if self.0.len() != 37 + BURST_DIGITS {
            return None;
        }
        let (id, key) = self.0.split_once('~')?;
        let is_key = key.len() == BURST_DIGITS && key.bytes().all(|b| b.is_ascii_hexdigit());
        (id.len() == 36 && is_key).then_some(key)
    }
}

/// How long the key of a burst is.
pub(crate) const BURST_DIGITS: usize = 20;

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for TaskId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for TaskId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Makes the ids of one sender.
#[derive(Debug)]
pub(crate) struct IdSource {
    /// Names this sender; 48 random bits.
    node: u64,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    millis: u64,
    /// Ids within one millisecond count up from a random start.
    counter: u32,
}

/// Bits of an id that tell apart the ids of one sender in one millisecond.
const COUNTER_BITS: u32 = 26;

impl IdSource {
    pub(crate) fn new() -> Self {
        Self {
            node: fastrand::u64(..) & 0xffff_ffff_ffff,
            last: Mutex::new(Last {
                millis: 0,
                counter: 0,
            }),
        }
    }

    /// The origin of every id that this source makes.
    pub(crate) fn origin(&self) -> String {
        format!("{:012x}", self.node)
    }

    pub(crate) fn next(&self) -> TaskId {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let (millis, counter) = {
            let mut last = match self.last.lock() {
                Ok(last) => last,
                Err(poisoned) => poisoned.into_inner(),
            };
            if now > last.millis {
                last.millis = now;
                // Half the range is left to count up in.
                last.counter = fastrand::u32(..1 << (COUNTER_BITS - 1));
            } else {
                // The same millisecond, or a clock that went back.
                last.counter += 1;
                if last.counter >= 1 << COUNTER_BITS {
                    last.millis += 1;
                    last.counter = 0;
                }
            }
            (last.millis, last.counter)
        };
        let high = (millis << 16) | 0x7000 | u64::from(counter >> 14);
        let low = (0b10 << 62) | (u64::from(counter & 0x3fff) << 48) | self.node;
        TaskId(Uuid::from_u64_pair(high, low).hyphenated().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_sorted_uuid_v7_of_one_origin() {
        let source = IdSource::new();
        let ids: Vec<TaskId> = (0..100_000).map(|_| source.next()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        for id in ids.iter().step_by(997) {
            let uuid = Uuid::parse_str(id.as_str()).unwrap();
            assert_eq!(uuid.get_version_num(), 7);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(id.origin(), source.origin());
        }
    }

    #[test]
    fn an_id_of_another_form_has_the_common_origin() {
        assert_eq!(TaskId::from("order-42").origin(), "x");
        assert_eq!(TaskId::from("").origin(), "x");
        assert_eq!(TaskId::from("é".repeat(16).as_str()).origin(), "x");
        let taskiq = TaskId::from("6b2f5fbe5e8943db83be43283d014364");
        assert_eq!(taskiq.origin(), "43283d014364");
    }
}
