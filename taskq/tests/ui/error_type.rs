//! An error must say something.
#![allow(unused)]

use taskq::prelude::*;

struct Silent;

#[task]
async fn fail() -> Result<u32, Silent> {
    Err(Silent)
}

fn main() {
    let _ = fail::call();
}
