//! `#[task]` says what it is on, and the item stays.
#![allow(unused)]

use taskq::prelude::*;

#[task]
#[derive(Default)]
pub struct Email {
    to: String,
}

#[task]
impl Email {
    fn to(&self) -> &str {
        &self.to
    }
}

#[task]
mod mail {}

#[task]
const LIMIT: u8 = 3;

fn main() {
    let _ = (Email::default().to(), LIMIT);
}
