//! What is typed into the query bar, and what it stands for: `state:failed
//! queue:email mailbox full`.

use super::address;

/// What is asked for: names and values, as they are in an address.
pub(super) type Pairs = Vec<(String, String)>;

/// What can be asked for: the name in the bar and in an address, and what it
/// is of.
pub(super) const FILTERS: [(&str, &str); 10] = [
    ("state", "how it is"),
    ("task", "its name"),
    ("queue", "its queue"),
    ("worker", "who ran it last"),
    ("error", "words of its error"),
    ("label", "name=value"),
    ("arg", "path=value of its arguments"),
    ("key", "its key"),
    ("since", "from a moment on"),
    ("until", "before a moment"),
];

/// Reads what was typed. Words without a name are words of the error.
pub(super) fn read(text: &str) -> Pairs {
    let mut pairs = Pairs::new();
    let mut words = Vec::new();
    for token in tokens(text) {
        let named = token
            .split_once(':')
            .filter(|(name, value)| !value.is_empty() && FILTERS.iter().any(|one| one.0 == *name));
        match named {
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => words.push(token),
        }
    }
    if !words.is_empty() {
        pairs.push(("error".to_owned(), words.join(" ")));
    }
    pairs
}

/// Words, and what is between quotes as one.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut token, mut quoted) = (String::new(), false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                if !token.is_empty() {
                    found.push(std::mem::take(&mut token));
                }
            }
            letter => token.push(letter),
        }
    }
    if !token.is_empty() {
        found.push(token);
    }
    found
}

/// Puts more to what is asked for. What can be asked for once only is asked
/// for anew.
pub(super) fn merge(pairs: &mut Pairs, more: Pairs) {
    for (name, value) in more {
        match name.as_str() {
            "label" | "arg" => {}
            "error" => {
                if let Some(one) = pairs.iter_mut().find(|one| one.0 == "error") {
                    one.1 = format!("{} {value}", one.1);
                    continue;
                }
            }
            _ => pairs.retain(|one| one.0 != name),
        }
        if !pairs.contains(&(name.clone(), value.clone())) {
            pairs.push((name, value));
        }
    }
}

/// The same, but for what a name stands for.
pub(super) fn without(pairs: &Pairs, name: &str) -> Pairs {
    pairs.iter().filter(|one| one.0 != name).cloned().collect()
}

/// The address of a list of tasks.
pub(super) fn address(pairs: &Pairs) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    address::with("tasks", pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_as_filters_and_words() {
        let pairs =
            read("state:failed queue:email mailbox \"is full\" label:\"city=New York\" x:y");
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("state", "failed"),
                ("queue", "email"),
                ("label", "city=New York"),
                ("error", "mailbox is full x:y"),
            ]
        );
    }

    #[test]
    fn what_is_asked_for_once_is_asked_for_anew() {
        let mut pairs = read("state:failed label:a=1");
        merge(&mut pairs, read("state:running label:b=2 timeout"));
        assert_eq!(
            address(&pairs),
            "tasks?label=a%3D1&state=running&label=b%3D2&error=timeout"
        );
    }
}
