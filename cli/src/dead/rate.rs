//! How many a second.

use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;

/// So many in a length of time, evenly spread: `50/s`, `10/m`, `100/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// From one to the next.
    pub(super) between: Duration,
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self {
                between: Duration::from_secs(unit) / count,
            })
        };
        read().ok_or_else(|| {
            anyhow!("`{text}` is no rate; write how many a second, minute or hour: 50/s, 10/m, 5/h")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_in_a_unit_of_time() {
        let between = |text: &str| text.parse::<Rate>().unwrap().between;
        assert_eq!(between("50/s"), Duration::from_millis(20));
        assert_eq!(between("10/m"), Duration::from_secs(6));
        assert_eq!(between("1/h"), Duration::from_secs(3600));
        for bad in ["", "50", "0/s", "-1/s", "50/d", "fast"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
