//! The fetch of a server, as on a machine that has none.

use std::thread;

use taskq_nats_server::{Locator, MINIMUM};

#[test]
fn several_at_once_fetch_a_server_that_runs() {
    let root = tempfile::tempdir().unwrap();
    let locator = Locator::new().cache_dir(root.path()).temp_dir(root.path());
    assert_eq!(locator.locate().unwrap(), None);

    // `Locator::ensure` shares nothing between threads, so they stand for
    // processes.
    let found: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..2).map(|_| scope.spawn(|| locator.ensure())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for binary in found {
        let binary = binary.unwrap();
        assert!(*binary.version() >= MINIMUM);
        assert!(binary.path().starts_with(root.path()));
        assert_eq!(locator.locate().unwrap(), Some(binary));
    }
}
