//! The catalogue of ready tasks.
//!
//! A worker has them all when its source names this crate once; a producer
//! calls them by type:
//!
//! ```
//! use taskq::Client;
//! use tasks as _; // in the worker
//! use tasks::to_uppercase; // in the producer
//!
//! # async fn f(client: Client) -> taskq::Result<()> {
//! let handle = to_uppercase::enqueue(&client, "hello").await?;
//! assert_eq!(handle.result().await?, "HELLO");
//! # Ok(()) }
//! ```
//!
//! | module, and feature | tasks |
//! |---|---|
//! | [`text`] | five on strings; with the feature `analysis` words, mood and gist of a text |
//! | `finance` | interest, loans, the price of an option, value at risk |
//! | `data` | statistics and patterns of a series |
//! | `image` | sizes and filters |
//! | `files` | compression and encryption |
//! | `external` | the weather, and rates of exchange |
//! | `mail` | e-mail, by SMTP or into a folder |
//! | `long` | a simulated backup, and reading large files |
//!
//! A producer that calls few of them turns on few; the ready-made worker has
//! them all, by the feature `full`. Each task says what it takes at most, and
//! refuses more for good: too large a call is its sender's mistake, which no
//! retry mends.

#[cfg(any(feature = "files", feature = "image"))]
pub mod blob;
#[cfg(any(
    feature = "analysis",
    feature = "data",
    feature = "files",
    feature = "finance",
    feature = "image",
    feature = "long",
    feature = "mail"
))]
pub mod bounds;
#[cfg(feature = "data")]
pub mod data;
#[cfg(feature = "external")]
pub mod external;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "finance")]
pub mod finance;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "long")]
pub mod long;
#[cfg(feature = "mail")]
pub mod mail;
pub mod text;

#[cfg(feature = "data")]
pub use data::{calculate_statistics, find_patterns};
#[cfg(feature = "external")]
pub use external::{currency_conversion, weather_data};
#[cfg(feature = "files")]
pub use files::{compress, decompress, decrypt, encrypt};
#[cfg(feature = "finance")]
pub use finance::{
    compound_interest, loan_amortization, monte_carlo_option, portfolio_value_at_risk,
};
#[cfg(feature = "image")]
pub use image::{apply_filter, image_resize};
#[cfg(feature = "long")]
pub use long::{large_file_processing, simulate_backup};
#[cfg(feature = "mail")]
pub use mail::send_email;
pub use text::{count_chars, repeat_string, reverse_string, to_lowercase, to_uppercase};
#[cfg(feature = "analysis")]
pub use text::{sentiment_analysis, text_summarization, word_count};
