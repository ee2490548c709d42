//! An unknown option is told with the nearest one, and the task is there all the same.
#![allow(unused)]

use taskq::prelude::*;

#[task(retires = 3)]
async fn typo() {}

#[task(max_retries = 3, colour = "red")]
async fn others() {}

#[task(dead_line = "10m", retryif = is_transient, discovered = false)]
async fn newer() {}

fn main() {
    let _ = typo::call();
    let _ = others::NAME;
}
