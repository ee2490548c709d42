//! The worker binary of taskq
