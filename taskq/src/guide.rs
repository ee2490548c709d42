//! Guides: one text with the project's `docs` folder, compiled as it stands.

// A link between guides is to a file there, and to a module here: of two
// definitions of a reference the first counts.

#[doc = "[client.md]: crate::guide::client"]
#[doc = "[schedules.md]: crate::guide::schedules"]
#[doc = "[worker.md]: crate::guide::worker"]
#[doc = ""]
#[doc = include_str!("../../docs/tasks.md")]
pub mod tasks {}

#[doc = "[tasks.md]: crate::guide::tasks"]
#[doc = ""]
#[doc = include_str!("../../docs/client.md")]
pub mod client {}

#[doc = "[client.md]: crate::guide::client"]
#[doc = "[metrics.md]: crate::guide::metrics"]
#[doc = "[tasks.md]: crate::guide::tasks"]
#[doc = ""]
#[doc = include_str!("../../docs/worker.md")]
pub mod worker {}

#[doc = "[security.md]: crate::guide::security"]
#[doc = ""]
#[doc = include_str!("../../docs/schedules.md")]
pub mod schedules {}

#[doc = include_str!("../../docs/queues.md")]
pub mod queues {}

#[doc = include_str!("../../docs/security.md")]
pub mod security {}

#[doc = "[metrics.md]: crate::guide::metrics"]
#[doc = "[worker.md]: crate::guide::worker"]
#[doc = ""]
#[doc = include_str!("../../docs/observability.md")]
pub mod observability {}

#[doc = "[observability.md]: crate::guide::observability"]
#[doc = ""]
#[doc = include_str!("../../docs/metrics.md")]
pub mod metrics {}
