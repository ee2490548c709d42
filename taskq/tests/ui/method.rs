//! A worker has no `self`.
#![allow(unused)]

use taskq::prelude::*;

struct Mailer;

impl Mailer {
    #[task]
    async fn send(&self, to: String) {}
}

trait Sender {
    #[task]
    fn send(self: Box<Self>, to: String);
}

fn main() {}
