//! A distributed task queue, native to NATS: annotate a function with #[task], call it from anywhere
