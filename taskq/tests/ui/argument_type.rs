//! What is sent must be JSON: one error for each type, on the type.
#![allow(unused)]

use std::rc::Rc;
use taskq::prelude::*;

struct Image;

#[task]
async fn thumbnail(width: u32, image: Image, others: Vec<Image>) {}

#[task]
fn shared(text: Rc<String>) {}

#[task]
pub async fn resize(image: Image) -> u32;

fn main() {
    let _ = thumbnail::call(80, Image, vec![]);
}
