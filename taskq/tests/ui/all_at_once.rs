//! Every mistake is told at once, and the function and the type are there all the same:
//! nothing more is said where they are used.
#![allow(unused)]

use taskq::prelude::*;

#[task(queue = "e mail", retires = 5)]
async fn send(to: &str, (x, y): (u8, u8), mailer: State<&u8>) -> &'static str {
    "sent"
}

type Named = send;

async fn main_task() {
    let _: &str = send("ada", (1, 2), State::new(&3)).await;
}

fn main() {
    let _ = (main_task(), None::<Named>);
}
