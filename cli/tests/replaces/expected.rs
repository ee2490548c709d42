//! What a command prints, as a document shows it.
//!
//! A line of `...` stands for any lines, also none. In a line, `...` and a
//! word in angle brackets, such as `<id>`, stand for any text.

/// What differs between what a command printed and what it should have.
pub(crate) fn compare(expected: &[String], printed: &str) -> Result<(), String> {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = expected.iter().map(|line| line.trim_end()).collect();
    if fits(&expected, &printed) {
        return Ok(());
    }
    let mut diff = String::new();
    for line in &expected {
        diff.push_str(&format!("  expected | {line}\n"));
    }
    for line in &printed {
        diff.push_str(&format!("  printed  | {line}\n"));
    }
    Err(diff)
}

fn fits(expected: &[&str], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], []) => true,
        (["...", expected @ ..], printed) => {
            (0..=printed.len()).any(|skipped| fits(expected, &printed[skipped..]))
        }
        ([line, expected @ ..], [is, printed @ ..]) => {
            line_fits(&pieces(line), is) && fits(expected, printed)
        }
        _ => false,
    }
}

/// The texts of a line between which there may be anything.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let hole = if rest.starts_with("...") {
            Some(3)
        } else {
            let name = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
            let is_name = |name: &str| {
                let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '-';
                !name.is_empty() && name.chars().all(is_letter)
            };
            name.filter(|(name, _)| is_name(name))
                .map(|(name, _)| name.len() + 2)
        };
        match hole {
            Some(length) => {
                pieces.push(&line[begin..at]);
                at += length;
                begin = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    pieces.push(&line[begin..]);
    pieces
}

fn line_fits(pieces: &[&str], line: &str) -> bool {
    let [first, rest @ ..] = pieces else {
        return line.is_empty();
    };
    let Some(line) = line.strip_prefix(first) else {
        return false;
    };
    let [middle @ .., last] = rest else {
        return line.is_empty();
    };
    // The earliest place leaves the most for what follows.
    let mut line = line;
    for piece in middle {
        match line.find(piece) {
            Some(place) => line = &line[place + piece.len()..],
            None => return false,
        }
    }
    line.ends_with(last)
}

/// That differences are seen: without that the rest would prove nothing.
pub(crate) fn check() {
    let fits = |expected: &[&str], printed: &str| {
        let expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
        compare(&expected, printed).is_ok()
    };
    for (expected, printed) in [
        (&["HELLO"][..], "HELLO\n"),
        (&["...", "last"], "last"),
        (&["...", "b", "..."], "a\nb\nc\nd"),
        (&["{\"id\":\"<id>\",\"n\":1}"], "{\"id\":\"019a\",\"n\":1}"),
        (
            &["succeeded  ... on w1: ... ms"],
            "succeeded  x on w1: 0.1 ms",
        ),
        (&[], ""),
    ] {
        assert!(fits(expected, printed), "{expected:?} {printed:?}");
    }
    for (expected, printed) in [
        (&["HELLO"][..], "HELLO\nmore"),
        (&["HELLO"], ""),
        (&[], "something"),
        (&["a ... b"], "a then c"),
        (&["...", "b"], "a\nb\nc"),
        (&["{\"n\":1}"], "{\"n\":12}"),
    ] {
        assert!(!fits(expected, printed), "{expected:?} {printed:?}");
    }
}
