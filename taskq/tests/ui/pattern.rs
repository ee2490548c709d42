//! An argument is sent by its name.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn distance((x, y): (f64, f64), _: u8, ref name: String, all @ _: u8) {}

fn main() {}
