//! Tasks on text.
//!
//! A character is what a reader takes for one: a grapheme cluster by
//! [UAX 29], so that `é` is one character however it is stored, and so is a
//! flag or a family of emoji.
//!
//! [UAX 29]: https://www.unicode.org/reports/tr29/

#[cfg(feature = "analysis")]
mod analysis;

#[cfg(feature = "analysis")]
pub use analysis::{
    Mood, Sentiment, TextSummary, WordCount, WordFrequency, sentiment_analysis, text_summarization,
    word_count,
};
use taskq::{TaskError, task};
use unicode_segmentation::UnicodeSegmentation as _;

/// The most bytes that [`repeat_string()`] makes: 1 MiB, the usual limit of a
/// NATS message, less 16 KiB for the record round the text.
pub const MAX_REPEATED_BYTES: usize = (1 << 20) - (16 << 10);

/// Converts text to uppercase, by Unicode: `ß` becomes `SS`.
#[task]
pub async fn to_uppercase(text: String) -> String {
    text.to_uppercase()
}

/// Converts text to lowercase, by Unicode: a `Σ` that ends a word becomes `ς`.
#[task]
pub async fn to_lowercase(text: String) -> String {
    text.to_lowercase()
}

/// Turns text round, character by character; an accent stays on its letter.
#[task]
pub async fn reverse_string(text: String) -> String {
    text.graphemes(true).rev().collect()
}

/// Counts the characters of text, as a reader would.
#[task]
pub async fn count_chars(text: String) -> u64 {
    text.graphemes(true).count() as u64
}

/// Repeats text `times` times; 0 times is empty.
///
/// # Errors
/// A permanent one when the result would be longer than
/// [`MAX_REPEATED_BYTES`].
#[task]
pub async fn repeat_string(text: String, times: u32) -> Result<String, TaskError> {
    let bytes = text.len() as u128 * u128::from(times);
    if bytes > MAX_REPEATED_BYTES as u128 {
        return Err(TaskError::permanent(format!(
            "{} bytes repeated {times} times are {bytes} bytes, and a result has at most \
             {MAX_REPEATED_BYTES}; repeat fewer times",
            text.len()
        )));
    }
    Ok(text.repeat(times as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = "👨\u{200d}👩\u{200d}👧";
    const E_ACUTE: &str = "e\u{301}";

    #[tokio::test]
    async fn case_follows_unicode() {
        for (text, upper) in [
            ("hello", "HELLO"),
            ("", ""),
            ("straße", "STRASSE"),
            ("ﬁn", "FIN"),
            ("e\u{301}", "E\u{301}"),
            ("привет", "ПРИВЕТ"),
            ("日本 🎉", "日本 🎉"),
        ] {
            assert_eq!(to_uppercase(text.into()).await, upper);
        }
        for (text, lower) in [
            ("HELLO", "hello"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("ẞ", "ß"),
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(to_lowercase(text.into()).await, lower);
        }
    }

    #[tokio::test]
    async fn reversing_keeps_characters_whole() {
        for (text, reversed) in [
            ("hello".to_owned(), "olleh".to_owned()),
            (String::new(), String::new()),
            (format!("caf{E_ACUTE}!"), format!("!{E_ACUTE}fac")),
            (format!("a{FAMILY}b"), format!("b{FAMILY}a")),
            ("🇩🇪🇫🇷".to_owned(), "🇫🇷🇩🇪".to_owned()),
            ("a\r\nb".to_owned(), "b\r\na".to_owned()),
        ] {
            assert_eq!(reverse_string(text.clone()).await, reversed);
            assert_eq!(reverse_string(reversed).await, text);
        }
    }

    #[tokio::test]
    async fn a_character_is_what_a_reader_takes_for_one() {
        for (text, count) in [
            ("hello", 5),
            ("", 0),
            ("straße", 6),
            (E_ACUTE, 1),
            (FAMILY, 1),
            ("🇩🇪🇫🇷", 2),
        ] {
            assert_eq!(count_chars(text.into()).await, count, "{text}");
        }
    }

    #[tokio::test]
    async fn repeating_ends_at_the_bound() {
        let repeat = async |text: &str, times| repeat_string(text.into(), times).await;
        assert_eq!(repeat("ab", 3).await.unwrap(), "ababab");
        assert_eq!(repeat("ab", 0).await.unwrap(), "");
        assert_eq!(repeat("", u32::MAX).await.unwrap(), "");
        assert_eq!(repeat("ß", 2).await.unwrap(), "ßß");

        let most = u32::try_from(MAX_REPEATED_BYTES).unwrap();
        let longest = repeat("x", most).await.unwrap();
        assert_eq!(longest.len(), MAX_REPEATED_BYTES);
        let error = repeat("xy", most).await.unwrap_err();
        assert!(error.is_permanent());
        let told = error.to_string();
        for number in [MAX_REPEATED_BYTES * 2, MAX_REPEATED_BYTES] {
            assert!(told.contains(&number.to_string()), "{told}");
        }
        assert!(repeat("xy", u32::MAX).await.is_err());
    }
}
