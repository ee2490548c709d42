//! A task is a safe Rust function that runs on a worker.
#![allow(unused)]

use taskq::prelude::*;

#[task]
const fn fixed() {}

#[task]
unsafe fn dangerous() {}

#[task]
extern "C" fn foreign() {}

#[task]
fn endless() -> ! {
    loop {}
}

fn main() {}
