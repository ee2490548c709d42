//! For programs that keep workers running, as `taskq pool run` does: what a
//! worker notes where it outlives it, and what operators ask of a pool.

mod recorder;
mod requests;

pub(crate) use recorder::{Note, Recorder};
pub use recorder::{RECORDER, WorkerNotes, read_notes};
pub use requests::{Asking, Bidding, Request, Requests, record_death};
