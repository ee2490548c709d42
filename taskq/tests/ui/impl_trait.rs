//! A worker and a caller must know the types.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn shout(text: impl Into<String>) -> String {
    text.into()
}

#[task]
fn later(n: u8) -> impl Future<Output = u8> {
    async move { n }
}

fn main() {}
