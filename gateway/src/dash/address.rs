//! Where things are. Every address that a page holds is made here, and is
//! relative to the page: so the dashboard works under any prefix and behind
//! any proxy, and need not be told of it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is as it is in a part of a path, and in a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The way from a page to the root of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base(String);

impl Base {
    /// From the page at a path, such as `/tasks/42`.
    pub(super) fn of(path: &str) -> Self {
        let depth = path.matches('/').count().saturating_sub(1);
        Self(match depth {
            0 => "./".to_owned(),
            depth => "../".repeat(depth),
        })
    }

    /// To what is at an address from the root: `tasks`, `tasks/42`; the root
    /// itself has none.
    pub(super) fn to(&self, address: &str) -> String {
        format!("{}{address}", self.0)
    }
}

/// A part of a path, whatever is in it.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// The page of something: `of("tasks", "42")`.
pub(super) fn of(what: &str, name: &str) -> String {
    format!("{what}/{}", part(name))
}

/// An address with parameters; those without a value are left out.
pub(super) fn with<'a>(
    address: &str,
    params: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut whole = address.to_owned();
    let mut mark = '?';
    for (name, value) in params {
        if value.is_empty() {
            continue;
        }
        whole.push(mark);
        whole.push_str(&part(name));
        whole.push('=');
        whole.push_str(&part(value));
        mark = '&';
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_from_any_page_to_any_other_under_any_prefix() {
        assert_eq!(Base::of("/").to("tasks"), "./tasks");
        assert_eq!(Base::of("/tasks").to("queues"), "./queues");
        assert_eq!(Base::of("/tasks/a%2Fb").to("queues"), "../queues");
        assert_eq!(Base::of("/tasks").to(""), "./");
    }

    #[test]
    fn what_is_in_a_name_stays_in_its_part() {
        assert_eq!(of("tasks", "a/b?c#d:e f"), "tasks/a%2Fb%3Fc%23d%3Ae%20f");
        let params = [("state", "failed"), ("task", ""), ("error", "a&b")];
        assert_eq!(with("tasks", params), "tasks?state=failed&error=a%26b");
    }
}
