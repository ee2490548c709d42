//! Code as users write it, under lints and among names that are not ours. That it
//! compiles without a warning is the test; what does not compile is in `tests/ui/`.

#[cfg(feature = "worker")]
mod first_minute;
mod names;
mod producer;
mod strict_lints;
