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

pub mod text;

pub use text::{count_chars, repeat_string, reverse_string, to_lowercase, to_uppercase};
