//! Options live with the contract.
#![allow(unused)]

use taskq::prelude::*;

mod contracts {
    #[taskq::task]
    pub async fn resize(url: String) -> u64;
}

#[task(implements = contracts::resize, queue = "cpu", retries = 3, crate = ::taskq)]
async fn resize(url: String) -> u64 {
    0
}

fn main() {}
