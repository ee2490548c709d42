//! Reading text: its words, its mood, its gist.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{Context, TaskError, task};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::bounds::{MAX_TEXT_BYTES, at_most, within};

/// How many of the most frequent words are told.
const MOST_FREQUENT: usize = 10;

/// The most sentences that a summary may have.
const MOST_SENTENCES: u32 = 1000;

/// What is counted in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordCount {
    /// What a reader takes for a character.
    pub characters: u64,
    /// Words by [UAX 29](https://www.unicode.org/reports/tr29/): `don't` is one.
    pub words: u64,
    /// Different words, whether upper or lower case.
    pub unique_words: u64,
    /// Sentences that have a word.
    pub sentences: u64,
    /// Lines, the last with or without its end.
    pub lines: u64,
    /// The most frequent words in lower case, ten at most; of equally frequent
    /// ones the first in the alphabet.
    pub most_frequent: Vec<WordFrequency>,
}

/// How often a word is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordFrequency {
    /// The word, in lower case.
    pub word: String,
    /// How often.
    pub count: u64,
}

/// Counts characters, words, sentences and lines.
///
/// # Errors
/// A permanent one for a text of more than [`MAX_TEXT_BYTES`].
#[task]
pub fn word_count(
    /// What to count in.
    text: String,
) -> Result<WordCount, TaskError> {
    at_most("text", text.len(), MAX_TEXT_BYTES, "bytes")?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    for word in text.unicode_words() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let words = counts.values().sum();
    let unique_words = counts.len() as u64;
    let mut frequent: Vec<WordFrequency> = counts
        .into_iter()
        .map(|(word, count)| WordFrequency { word, count })
        .collect();
    frequent.sort_by(|one, other| {
        let by_count = other.count.cmp(&one.count);
        by_count.then_with(|| one.word.cmp(&other.word))
    });
    frequent.truncate(MOST_FREQUENT);
    Ok(WordCount {
        characters: text.graphemes(true).count() as u64,
        words,
        unique_words,
        sentences: text.unicode_sentences().count() as u64,
        lines: text.lines().count() as u64,
        most_frequent: frequent,
    })
}

/// The mood of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mood {
    /// It approves: a score of 0.05 and more.
    Positive,
    /// It does neither.
    Neutral,
    /// It disapproves: a score of -0.05 and less.
    Negative,
}

/// How a text is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sentiment {
    /// In a word.
    pub label: Mood,
    /// From -1 (all against) to 1 (all for).
    pub score: f64,
    /// Share of what is positive, 0 to 1; the three shares are 1 together.
    pub positive: f64,
    /// Share of what is neither.
    pub neutral: f64,
    /// Share of what is negative.
    pub negative: f64,
}

/// Tells whether an English text approves or disapproves, by [VADER]'s rules
/// and words, emoji among them. A text in another language is neutral.
///
/// [VADER]: https://doi.org/10.1609/icwsm.v8i1.14550
///
/// # Errors
/// A permanent one for a text of more than [`MAX_TEXT_BYTES`].
#[task]
pub fn sentiment_analysis(
    ctx: Context,
    /// What to judge.
    text: String,
) -> Result<Sentiment, TaskError> {
    at_most("text", text.len(), MAX_TEXT_BYTES, "bytes")?;
    let analyzer = vader_sentimental::SentimentIntensityAnalyzer::new();
    // VADER is made for sentences; a long text is the mean of its own.
    let mut sum = [0.0; 4];
    let mut count = 0.0;
    for sentence in text.unicode_sentences() {
        if ctx.is_cancelled() {
            return Err(TaskError::permanent("it was told to stop"));
        }
        let scores = analyzer.polarity_scores(sentence);
        let of_sentence = [scores.compound, scores.pos, scores.neu, scores.neg];
        for (sum, score) in sum.iter_mut().zip(of_sentence) {
            *sum += score;
        }
        count += 1.0;
    }
    if count == 0.0 {
        (sum, count) = ([0.0, 0.0, 1.0, 0.0], 1.0);
    }
    let [score, positive, neutral, negative] = sum.map(|sum| sum / count);
    let label = match score {
        score if score >= 0.05 => Mood::Positive,
        score if score <= -0.05 => Mood::Negative,
        _ => Mood::Neutral,
    };
    Ok(Sentiment {
        label,
        score,
        positive,
        neutral,
        negative,
    })
}

/// The gist of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TextSummary {
    /// Its weightiest sentences, as they are and in their order.
    pub sentences: Vec<String>,
    /// How many sentences the text has.
    pub of: u64,
}

/// Takes out of a text the sentences that say most.
///
/// Which those are is told by their words: one that comes up often in the text
/// counts, one that is in nearly all sentences does not, and a sentence is worth
/// the mean of its words. That needs no list of words, so it does for any
/// language that has them.
///
/// # Errors
/// A permanent one for a text of more than [`MAX_TEXT_BYTES`], or for more than
/// a thousand sentences or none.
#[task]
pub fn text_summarization(
    /// What to shorten.
    text: String,
    /// How many sentences to keep; 3 if it does not say.
    sentences: Option<u32>,
) -> Result<TextSummary, TaskError> {
    at_most("text", text.len(), MAX_TEXT_BYTES, "bytes")?;
    let most = within("sentences", sentences.unwrap_or(3), 1, MOST_SENTENCES)? as usize;
    let all: Vec<&str> = text.unicode_sentences().map(str::trim).collect();
    let words: Vec<Vec<String>> = all
        .iter()
        .map(|sentence| sentence.unicode_words().map(str::to_lowercase).collect())
        .collect();
    // How often a word is in the text, and in how many sentences.
    let mut counts: HashMap<&str, (f64, f64, usize)> = HashMap::new();
    for (place, words) in words.iter().enumerate() {
        for word in words {
            let (times, sentences, last) = counts.entry(word).or_insert((0.0, 0.0, usize::MAX));
            *times += 1.0;
            if *last != place {
                (*sentences, *last) = (*sentences + 1.0, place);
            }
        }
    }
    let total = all.len() as f64;
    let worth = |words: &Vec<String>| -> f64 {
        let weight = |word: &String| {
            let (times, sentences, _) = counts[word.as_str()];
            times * ((1.0 + total) / (1.0 + sentences)).ln()
        };
        let sum: f64 = words.iter().map(weight).sum();
        sum / (words.len().max(1) as f64)
    };
    let mut ranked: Vec<(usize, f64)> = words.iter().map(worth).enumerate().collect();
    ranked.sort_by(|one, other| {
        let by_worth = other.1.total_cmp(&one.1);
        by_worth.then(one.0.cmp(&other.0))
    });
    let mut kept: Vec<usize> = ranked.iter().take(most).map(|(place, _)| *place).collect();
    kept.sort_unstable();
    Ok(TextSummary {
        sentences: kept.iter().map(|place| all[*place].to_owned()).collect(),
        of: all.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_a_reader_counts_them() {
        let text = "Don't panic. The cat saw the dog!\nDie Straße, die STRASSE; 日本.";
        let count = word_count(text.into()).unwrap();
        assert_eq!((count.words, count.lines, count.sentences), (13, 2, 3));
        let word = |word: &str, count| WordFrequency {
            word: word.into(),
            count,
        };
        assert_eq!(count.most_frequent[..2], [word("die", 2), word("the", 2)]);
        assert_eq!(count.most_frequent.len(), 10);
        let nothing = word_count(String::new()).unwrap();
        assert_eq!(
            (nothing.words, nothing.lines, nothing.characters),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_for_good() {
        let text = "a".repeat(MAX_TEXT_BYTES + 1);
        let error = word_count(text).unwrap_err();
        assert!(error.is_permanent(), "{error}");
        assert!(error.to_string().contains("8388609 bytes"), "{error}");
    }

    #[test]
    fn the_mood_of_a_text_is_told() {
        let judge = |text: &str| sentiment_analysis(Context::test(), text.into()).unwrap();
        let good = judge("I love this wonderful product! It works great.");
        assert_eq!(good.label, Mood::Positive);
        assert!(good.score > 0.5, "{good:?}");
        assert_eq!(
            judge("I don't love it. It is terrible.").label,
            Mood::Negative
        );
        assert_eq!(judge("").label, Mood::Neutral);
        let plain = judge("The train leaves at nine.");
        assert_eq!(plain.label, Mood::Neutral);
        assert!((plain.positive + plain.neutral + plain.negative - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_summary_is_the_weightiest_sentences_in_their_order() {
        let text = "The weather was nice. Solar panels turn light into power, and solar \
                    power is cheap. He had lunch. Cheap solar panels make solar power \
                    the power of the poor. She went home.";
        let summary = text_summarization(text.into(), Some(2)).unwrap();
        assert_eq!(summary.of, 5);
        assert!(
            summary.sentences[0].starts_with("Solar panels"),
            "{summary:?}"
        );
        assert!(
            summary.sentences[1].starts_with("Cheap solar"),
            "{summary:?}"
        );
        let short = text_summarization("One. Two.".into(), None).unwrap();
        assert_eq!(short.sentences, ["One.", "Two."]);
        assert!(
            text_summarization("One.".into(), Some(0))
                .unwrap_err()
                .is_permanent()
        );
    }
}
