//! The trace that a message belongs to: W3C [trace context], in labels, as
//! Taskiq's own middleware has it.
//!
//! [trace context]: https://www.w3.org/TR/trace-context/

use super::{Label, Labels, labels};

/// A `traceparent`: `00-<trace id>-<span id>-<flags>`, in lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceparent<'a> {
    pub(crate) trace_id: &'a str,
    pub(crate) span_id: &'a str,
    pub(crate) flags: &'a str,
}

impl<'a> Traceparent<'a> {
    /// None for what is none: then there is no trace, and nothing is refused
    /// for it.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let part = parts.next()?;
            (part.len() == length && part.bytes().all(is_hex)).then_some(part)
        };
        let version = part(2).filter(|version| *version != "ff")?;
        let is_set = |id: &&str| id.bytes().any(|byte| byte != b'0');
        let parent = Self {
            trace_id: part(32).filter(is_set)?,
            span_id: part(16).filter(is_set)?,
            flags: part(2)?,
        };
        // A later version may have more.
        (version != "00" || parts.next().is_none()).then_some(parent)
    }

    /// Of a message.
    pub(crate) fn of(labels: &'a Labels) -> Option<Self> {
        if labels.is_empty() {
            return None;
        }
        let label = labels.get(labels::TRACEPARENT).and_then(Label::as_str);
        label.and_then(Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        let parent = Traceparent::parse(&good).unwrap();
        assert_eq!((parent.trace_id, parent.flags), (trace, "01"));
        assert_eq!(parent.span_id, "b7ad6b7169203331");
        let later = good.replacen("00", "cc", 1) + "-more";
        assert!(Traceparent::parse(&later).is_some());
        for bad in [
            String::new(),
            good.to_uppercase(),
            good.replacen("00", "ff", 1),
            format!("{good}-more"),
            good.replace("b7ad6b7169203331", "0000000000000000"),
            good[..50].to_owned(),
            format!("00-{trace}é-b7ad6b7169203331-01"),
        ] {
            assert_eq!(Traceparent::parse(&bad), None, "{bad}");
        }
    }
}
