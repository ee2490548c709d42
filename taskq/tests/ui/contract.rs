//! A contract is the signature that is sent.
#![allow(unused)]

use taskq::prelude::*;

#[task]
pub async fn with_context(ctx: Context, url: String) -> u32;

#[task]
pub async fn with_state(url: String, database: State<u64>, #[inject] other: u8) -> u32;

#[task]
pub async fn good(url: String) -> u32;

#[task(implements = good)]
pub async fn of_another(url: String) -> u32;

fn is_transient(error: &TaskError) -> bool {
    true
}

#[task(retries = 3, retry_if = is_transient, discover = false)]
pub async fn with_the_workers(url: String) -> u32;

fn main() {}
