//! Where a page ends and the next one begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::{IndexError, Result};

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Behind a task that has not ended.
    Live {
        /// When it was last heard of.
        at: i64,
        /// Its id.
        id: String,
    },
    /// Behind an outcome.
    Ended {
        /// Its place.
        n: i64,
    },
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Live { at, id } => format!("l{at}:{id}"),
            Self::Ended { n } => format!("e{n}"),
        };
        f.write_str(&BASE64.encode(text))
    }
}

impl std::str::FromStr for Cursor {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self> {
        let cursor = || {
            let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
            if let Some(n) = text.strip_prefix('e') {
                return Some(Self::Ended { n: n.parse().ok()? });
            }
            let (at, id) = text.strip_prefix('l')?.split_once(':')?;
            Some(Self::Live {
                at: at.parse().ok()?,
                id: id.to_owned(),
            })
        };
        cursor().ok_or_else(|| {
            IndexError::Invalid(
                "this cursor is none that was given out; take `next` of the page before".to_owned(),
            )
        })
    }
}
