//! What the worker is asked for must be something it can supply.
#![allow(unused)]

use taskq::prelude::*;

struct Database;

#[task]
async fn query(#[inject] database: Database, sql: String) {}

/// A `Context` of one's own takes the place of taskq's.
mod web {
    pub struct Context;
}

#[task]
async fn page(context: web::Context) {}

#[task]
async fn nothing(#[inject(now)] context: Context) {}

fn main() {}
