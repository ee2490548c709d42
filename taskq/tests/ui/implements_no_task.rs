//! `implements` names a task.
#![allow(unused)]

use taskq::prelude::*;

struct Image;

#[task(implements = Image)]
async fn resize(url: String) -> u64 {
    0
}

#[task(implements = contracts::missing)]
async fn missing(url: String) -> u64 {
    0
}

fn main() {}
