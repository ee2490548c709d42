//! A future that cannot move between threads is told at the function.
#![allow(unused)]

use std::rc::Rc;
use taskq::prelude::*;

#[task]
async fn count() -> usize {
    let words = Rc::new(vec!["a"]);
    std::future::ready(()).await;
    words.len()
}

fn main() {}
