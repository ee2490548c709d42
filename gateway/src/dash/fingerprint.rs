//! Errors that are alike but for what they are about: what differs is left
//! out, so that a thousand failures are one line.

/// The longest of a pattern, in letters.
const LONGEST: usize = 160;
/// What stands where something differs.
const GAP: &str = "…";
/// A number behind one of these is what went wrong, and not what with.
const TELLING: [&str; 7] = ["code", "status", "http", "errno", "error", "exit", "signal"];

/// The pattern of an error: its first line without numbers, ids, addresses and
/// what is quoted.
pub(super) fn pattern(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let line = without_quoted(line);
    let mut words: Vec<String> = Vec::new();
    let mut before = String::new();
    for word in line.split_whitespace() {
        let plain = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        let told = TELLING.contains(&before.as_str())
            && plain.len() <= 5
            && plain.bytes().all(|byte| byte.is_ascii_digit());
        before = plain.to_lowercase();
        if told || !differs(plain) {
            words.push(word.to_owned());
            continue;
        }
        let gap = word.replacen(plain, GAP, 1);
        if words.last() != Some(&gap) {
            words.push(gap);
        }
    }
    words.join(" ").chars().take(LONGEST).collect()
}

/// Whether a word is a number, an id, an address: one of many.
fn differs(word: &str) -> bool {
    word.contains(['@', '/', '\\'])
        || word.bytes().any(|byte| byte.is_ascii_digit())
        || (word.len() >= 16
            && word
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
}

fn without_quoted(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(begin) = rest.find(['"', '`']) {
        let quote = &rest[begin..=begin];
        let Some(end) = rest[begin + 1..].find(quote) else {
            break;
        };
        text.push_str(&rest[..begin]);
        text.push_str(GAP);
        rest = &rest[begin + end + 2..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_left_out_and_what_went_wrong_is_not() {
        for (error, expected) in [
            (
                "mailbox of ada-49@example.com is full",
                "mailbox of … is full",
            ),
            (
                "card declined for order 54: code 5",
                "card declined for order …: code 5",
            ),
            ("HTTP 503 from https://x.example/a?b=1", "HTTP 503 from …"),
            (
                "no such file \"/tmp/a b\" here\nbacktrace",
                "no such file … here",
            ),
            (
                "task 01a219ba-8f94-7159-bc80-870a5c33680d is gone",
                "task … is gone",
            ),
            ("an \"open quote", "an \"open quote"),
            ("", ""),
        ] {
            assert_eq!(pattern(error), expected, "{error}");
        }
    }
}
