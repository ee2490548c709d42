//! A crate that denies what a crate may deny: the expansion gives no cause.
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations
)]
#![deny(
    unreachable_pub,
    unused_qualifications,
    unused_results,
    single_use_lifetimes
)]
#![deny(
    elided_lifetimes_in_paths,
    trivial_casts,
    unit_bindings,
    let_underscore_drop
)]
#![deny(
    non_local_definitions,
    unnameable_types,
    redundant_lifetimes,
    variant_size_differences
)]
#![forbid(unsafe_code)]

use taskq::prelude::*;

/// A task with all kinds of parameters.
#[task(
    name = "all",
    queue = "cpu",
    retries = 1,
    unique,
    ttl = "1h",
    priority = "low"
)]
pub(crate) async fn all(
    ctx: Context,
    a: String,
    b: Option<u8>,
    n: State<u8>,
) -> Result<(), TaskError> {
    drop((ctx, a, b, n));
    Ok(())
}

/// A plain one.
#[task]
#[deprecated]
pub(crate) fn plain() {}

/// A contract.
#[task]
pub(crate) async fn contract(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> u8;

/// Its implementation.
#[task(implements = contract)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn body(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> u8 {
    a + b + c + d + e + f + g + h + i
}

#[task]
async fn private_and_not_named_anywhere() {}

#[task]
async fn private_contract();

#[test]
fn a_task_may_stand_in_a_function() {
    #[task]
    async fn nested(n: u8) -> u8 {
        n
    }
}
