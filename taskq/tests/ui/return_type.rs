//! What is returned must be JSON, both ways.
#![allow(unused)]

use taskq::prelude::*;

struct Image;
#[derive(serde::Serialize)]
struct OnlyWritten;
#[derive(serde::Deserialize)]
struct OnlyRead;

#[task]
async fn neither() -> Result<Vec<Image>, TaskError> {
    Ok(vec![])
}

#[task]
async fn written() -> OnlyWritten {
    OnlyWritten
}

#[task]
fn read() -> OnlyRead {
    OnlyRead
}

fn main() {
    let _ = neither::call();
    let _ = written::NAME;
}
