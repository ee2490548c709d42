//! What tasks are found by: values and words, cut to a size.

use std::collections::BTreeSet;

use serde_json::Value;

/// The longest text of an error that is kept, in bytes.
pub(super) const LONGEST_ERROR: usize = 2048;
/// The longest value that is found by, in bytes.
const LONGEST_VALUE: usize = 256;
/// The longest path of an argument that is found by, in bytes. A longer one is
/// left out: cut, it would be another one.
const LONGEST_PATH: usize = 256;
/// How many levels deep in an argument a value may be to be found by.
const DEEPEST: usize = 16;
/// How many values of one task's arguments it is found by.
const MOST_VALUES: usize = 64;
/// How many words of an error it is found by.
const MOST_WORDS: usize = 128;
/// The longest word, in bytes.
const LONGEST_WORD: usize = 64;

/// As much of a text as fits.
pub(super) fn start(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text as it is stored and searched for. No database takes a NUL in one.
pub(super) fn cut(text: &str) -> String {
    start(text, LONGEST_VALUE).replace('\0', "")
}

/// A value as it is stored and searched for: text as it is, anything else as
/// JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

/// The words of a text: runs of letters and digits, in small letters, each
/// once.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| start(&word.to_lowercase(), LONGEST_WORD).to_owned())
        .take(MOST_WORDS)
        .collect()
}

/// Adds the values in an argument, and where they are: `user.id`, `0.name`. What
/// is longer, deeper or more than the limits above is left out.
pub(super) fn leaves(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    leaves_below(path, value, DEEPEST, found);
}

fn leaves_below(path: &str, value: &Value, levels: usize, found: &mut Vec<(String, String)>) {
    if found.len() >= MOST_VALUES || path.len() > LONGEST_PATH {
        return;
    }
    let Some(levels) = levels.checked_sub(1) else {
        return;
    };
    match value {
        Value::Array(values) => {
            // Of a list of thousands only the first can count.
            for (place, value) in values.iter().take(MOST_VALUES).enumerate() {
                leaves_below(&format!("{path}.{place}"), value, levels, found);
            }
        }
        Value::Object(values) => {
            for (name, value) in values {
                leaves_below(&format!("{path}.{name}"), value, levels, found);
            }
        }
        leaf => found.push((path.replace('\0', ""), plain(leaf))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_the_same_however_they_are_written() {
        let found: Vec<String> = words("Mailbox FULL: user@example.com (full)")
            .into_iter()
            .collect();
        assert_eq!(found, ["com", "example", "full", "mailbox", "user"]);
        assert!(words(" -- \" * ").is_empty());
    }

    #[test]
    fn values_are_bounded_in_size_and_number() {
        let mut found = Vec::new();
        let many: Vec<u32> = (0..1000).collect();
        leaves("many", &json!(many), &mut found);
        assert_eq!(found.len(), MOST_VALUES);
        found.clear();
        leaves("text", &json!("ä".repeat(1000)), &mut found);
        assert!(found[0].1.len() <= LONGEST_VALUE);
        found.clear();
        leaves("long", &json!({"k".repeat(1000): 1}), &mut found);
        assert!(found.is_empty());
        let nested = |levels| (0..levels).fold(json!(1), |value, _| json!([value]));
        leaves("deep", &nested(DEEPEST - 1), &mut found);
        assert_eq!(found.len(), 1);
        leaves("deeper", &nested(DEEPEST), &mut found);
        assert_eq!(found.len(), 1);
    }
}
