//! The type that names a task must not hide a primitive one.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn char(text: String) -> char {
    'x'
}

fn main() {}
