//! Flags and logging for programs with a command line; feature `cli`.
//!
//! The `worker` and `producer` of this project take their connection from
//! these flags and environment variables, and so can yours:
//!
//! ```no_run
//! use clap::Parser;
//! use taskq::cli::{ConnectArgs, LogArgs};
//! # #[cfg(feature = "worker")]
//! use taskq::Worker;
//!
//! /// Runs the tasks of my shop.
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     connect: ConnectArgs,
//!     #[command(flatten)]
//!     log: LogArgs,
//! }
//!
//! # #[cfg(feature = "worker")]
//! #[tokio::main]
//! async fn main() -> taskq::Result<()> {
//!     let args = Args::parse();
//!     args.log.init();
//!     let client = args.connect.connect().await?;
//!     Worker::builder(client).run().await
//! }
//! # #[cfg(not(feature = "worker"))]
//! # fn main() {}
//! ```

mod connect;
mod health;
mod log;
mod stop;

pub use connect::ConnectArgs;
pub use health::check_health;
pub use log::{LogArgs, LogFormat};
pub use stop::stop_signal;
