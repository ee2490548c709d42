//! The word that a mistyped one was meant to be.

/// The candidate nearest to `word`, when one is near enough to be a likely typo.
///
/// Near enough is an edit distance of at most half the longer word's length, where a
/// swap of neighbours counts as one edit. The first of equally near candidates wins.
///
/// ```
/// use taskq_syntax::nearest;
///
/// assert_eq!(nearest("retires", ["queue", "retries"]), Some("retries"));
/// assert_eq!(nearest("colour", ["queue", "retries"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().collect();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().collect();
            let edits = edits(&word, &letters);
            (edits <= word.len().max(letters.len()) / 2).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance: insert, delete, replace, swap neighbours.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_with_swaps_as_one() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("hihg", "high", 1),
            ("retires", "retries", 1),
            ("retry", "retries", 3),
            ("kitten", "sitting", 3),
        ] {
            let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(edits(&x, &y), count, "{a} {b}");
            assert_eq!(edits(&y, &x), count, "{b} {a}");
        }
    }

    #[test]
    fn words_that_are_far_are_not_suggested() {
        assert_eq!(nearest("foo", ["ttl", "name", "queue"]), None);
        assert_eq!(nearest("", ["ttl"]), None);
        assert_eq!(nearest("max_retries", ["retries"]), Some("retries"));
    }
}
