//! What the parts of a run share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Ledger;
use crate::recovery::Recovery;

/// What the parts of a run know together.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    ledger: Mutex<Ledger>,
    recovery: Mutex<Recovery>,
}

impl Shared {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn recovery(&self) -> MutexGuard<'_, Recovery> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
