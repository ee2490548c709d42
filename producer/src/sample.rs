//! Calls whose results are known.

use serde_json::{Value, json};
use taskq::{Call, TaskError, Untyped};
use tasks::{count_chars, repeat_string, reverse_string, to_lowercase, to_uppercase};

/// Words that are easy to get wrong: letters that change their number, an
/// accent of its own, characters of several code points.
const WORDS: [&str; 6] = [
    "hello",
    "straße",
    "naïve",
    "cafe\u{301}",
    "日本語",
    "👩\u{200d}🚀 go",
];

/// A call of one of the five string tasks.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    ToUppercase(String),
    ToLowercase(String),
    ReverseString(String),
    CountChars(String),
    RepeatString(String, u32),
}

impl Sample {
    /// The five, as a first look shows them.
    pub(crate) fn first_five() -> Vec<Self> {
        vec![
            Self::ToUppercase("hello, world".to_owned()),
            Self::ToLowercase("HELLO, WORLD".to_owned()),
            Self::ReverseString("hello, world".to_owned()),
            Self::CountChars("hello, world".to_owned()),
            Self::RepeatString("ha".to_owned(), 3),
        ]
    }

    /// The `number`th of many: the five in turn, each with other arguments.
    pub(crate) fn of(number: u64) -> Self {
        let words = WORDS.len() as u64;
        let word = WORDS[(number / 5 % words) as usize];
        let text = format!("{word} {number}");
        match number % 5 {
            0 => Self::ToUppercase(text),
            1 => Self::ToLowercase(text.to_uppercase()),
            2 => Self::ReverseString(text),
            3 => Self::CountChars(text),
            _ => Self::RepeatString(text, (number / 5 % 4) as u32),
        }
    }

    /// The task's name.
    pub(crate) fn task(&self) -> &'static str {
        match self {
            Self::ToUppercase(_) => to_uppercase::NAME,
            Self::ToLowercase(_) => to_lowercase::NAME,
            Self::ReverseString(_) => reverse_string::NAME,
            Self::CountChars(_) => count_chars::NAME,
            Self::RepeatString(..) => repeat_string::NAME,
        }
    }

    /// The arguments by name.
    pub(crate) fn args(&self) -> Value {
        match self {
            Self::ToUppercase(text)
            | Self::ToLowercase(text)
            | Self::ReverseString(text)
            | Self::CountChars(text) => json!({ "text": text }),
            Self::RepeatString(text, times) => json!({ "text": text, "times": times }),
        }
    }

    /// The call to send.
    pub(crate) fn call(&self) -> Call<Untyped> {
        match self.clone() {
            Self::ToUppercase(text) => to_uppercase::call(text).untyped(),
            Self::ToLowercase(text) => to_lowercase::call(text).untyped(),
            Self::ReverseString(text) => reverse_string::call(text).untyped(),
            Self::CountChars(text) => count_chars::call(text).untyped(),
            Self::RepeatString(text, times) => repeat_string::call(text, times).untyped(),
        }
    }

    /// What the worker must return: what the same function returns here.
    pub(crate) async fn expected(&self) -> Result<Value, TaskError> {
        Ok(match self.clone() {
            Self::ToUppercase(text) => to_uppercase(text).await.into(),
            Self::ToLowercase(text) => to_lowercase(text).await.into(),
            Self::ReverseString(text) => reverse_string(text).await.into(),
            Self::CountChars(text) => count_chars(text).await.into(),
            Self::RepeatString(text, times) => repeat_string(text, times).await?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn many_are_the_five_in_turn_with_other_arguments_each_time() {
        let many: Vec<Sample> = (0..1000).map(Sample::of).collect();
        let calls: HashSet<String> = many
            .iter()
            .map(|sample| format!("{} {}", sample.task(), sample.args()))
            .collect();
        assert_eq!(calls.len(), many.len());
        for five in many.chunks(5) {
            let tasks: HashSet<&str> = five.iter().map(Sample::task).collect();
            assert_eq!(tasks.len(), 5);
            for sample in five {
                assert!(sample.expected().await.is_ok());
            }
        }
    }

    #[tokio::test]
    async fn the_first_five_return_what_anyone_can_check() {
        let mut returned = Vec::new();
        for sample in Sample::first_five() {
            returned.push(sample.expected().await.unwrap());
        }
        assert_eq!(
            json!(returned),
            json!(["HELLO, WORLD", "hello, world", "dlrow ,olleh", 12, "hahaha"])
        );
    }
}
