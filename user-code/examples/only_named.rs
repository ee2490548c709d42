//! Prints the tasks of a crate that the program names and nothing more: what the
//! linker left of them. `e2e/tests/release.rs` builds it with LTO.

use taskq::{Client, Worker};
use tasks as _;

fn main() -> Result<(), taskq::Error> {
    let worker = Worker::builder(Client::memory()).build()?;
    for task in worker.tasks() {
        println!("{}", task.name);
    }
    Ok(())
}
