//! Numbers for whoever watches: the metrics of workers and clients, as a page
//! that Prometheus reads.
//!
//! The ready-made `worker` and `gateway` serve this page at `/metrics`, and
//! your own program can with a route of its own:
//!
//! ```
//! # #[cfg(feature = "worker")] {
//! use taskq::telemetry::Page;
//! use taskq::{Client, WorkerStats};
//!
//! /// What to answer to `GET /metrics`, as [`Page::CONTENT_TYPE`].
//! fn metrics(client: &Client, worker: &WorkerStats) -> String {
//!     let mut page = Page::new();
//!     page.worker(worker).client(client).process();
//!     page.into_text()
//! }
//! # let text = metrics(&Client::memory(), &WorkerStats::default());
//! # assert!(text.contains("# TYPE taskq_worker_slots gauge"));
//! # }
//! ```
//!
//! With the feature `otlp` it also tells traces to OpenTelemetry: each call is
//! one trace, with the span that sent it, its waits and its attempts, whichever
//! processes they were in. A program that takes its flags from `taskq::cli` sends
//! them where `OTEL_EXPORTER_OTLP_ENDPOINT` says; any other calls `trace` when
//! it has set its tracer provider.
//!
//! [The list of metrics][list] says what each means and what to do about it.
//!
//! [list]: crate::guide::metrics

#[cfg(feature = "worker")]
mod cells;
#[cfg(feature = "worker")]
mod histogram;
#[cfg(all(feature = "otlp", feature = "cli"))]
mod otlp;
mod page;
mod process;
mod sent;
#[cfg(not(feature = "otlp"))]
#[path = "no_spans.rs"]
mod spans;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(feature = "worker")]
mod tasks;

#[cfg(feature = "worker")]
pub(crate) use histogram::Histogram;
#[cfg(all(feature = "otlp", feature = "cli"))]
pub use otlp::end as end_traces;
#[cfg(all(feature = "otlp", feature = "cli"))]
pub(crate) use otlp::start as start_traces;
pub use page::{Family, Kind, Page};
#[cfg(feature = "worker")]
pub(crate) use process::Process;
pub(crate) use sent::{Place, Sent};
#[cfg(all(feature = "otlp", feature = "cli"))]
pub(crate) use spans::SPAN_TARGET;
pub(crate) use spans::Sending;
#[cfg(feature = "worker")]
pub(crate) use spans::{Beginning, Running};
#[cfg(feature = "otlp")]
pub use spans::{Serving, is_tracing, trace};
#[cfg(feature = "worker")]
pub(crate) use tasks::{End, OfTask, TaskNumbers};

/// The trace id (32 hex digits) of a W3C `traceparent`; none for what is none.
///
/// ```
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let id = taskq::telemetry::trace_id(parent);
/// assert_eq!(id, Some("0af7651916cd43dd8448eb211c80319c"));
/// ```
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    Some(crate::message::Traceparent::parse(traceparent)?.trace_id)
}

/// The label value of every task type that is not known, or is one too many:
/// senders choose names, and must not fill the memory of who counts.
pub const OTHER: &str = "_OTHER";
