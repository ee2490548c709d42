//! The producer binary of taskq
