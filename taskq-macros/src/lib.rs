//! The #[task] attribute of taskq
