//! Producer and worker agree on the arguments.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn send(to: String, #[cfg(unix)] uid: u32) {}

fn main() {}
