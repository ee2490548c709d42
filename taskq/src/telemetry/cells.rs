//! Counters that many threads add to at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More rows of cells than that gain nothing.
const MOST_ROWS: usize = 16;

/// So many cells at the end of a row are not used: the last cache line of one
/// row is not the first of another.
const GAP: usize = 16;

/// Cells that are added to in one of several rows and read as their sum, so
/// that threads do not wait for each other's cache lines.
#[derive(Debug)]
pub(super) struct Cells {
    rows: Box<[Box<[AtomicU64]>]>,
}

impl Cells {
    pub(super) fn new(count: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let rows = threads.next_power_of_two().min(MOST_ROWS);
        let row = || (0..count + GAP).map(|_| AtomicU64::new(0)).collect();
        Self {
            rows: (0..rows).map(|_| row()).collect(),
        }
    }

    /// The row of this thread.
    #[inline]
    pub(super) fn row(&self) -> &[AtomicU64] {
        thread_local! {
            static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let place = PLACE.get();
        let place = if place == usize::MAX {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed) % MOST_ROWS;
            PLACE.set(next);
            next
        } else {
            place
        };
        // A power of two: no division.
        &self.rows[place & (self.rows.len() - 1)]
    }

    pub(super) fn sum(&self, cell: usize) -> u64 {
        let cells = self.rows.iter().filter_map(|row| row.get(cell));
        cells.map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}

/// Adds to a cell of a row; to none, if there is none.
#[inline]
pub(super) fn add(row: &[AtomicU64], cell: usize, count: u64) {
    if let Some(cell) = row.get(cell) {
        cell.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_add_is_all_there() {
        let cells = Cells::new(2);
        std::thread::scope(|scope| {
            for _ in 0..MOST_ROWS + 3 {
                scope.spawn(|| (0..1000).for_each(|_| add(cells.row(), 1, 2)));
            }
        });
        assert_eq!(cells.sum(0), 0);
        assert_eq!(cells.sum(1), 2000 * (MOST_ROWS as u64 + 3));
        assert_eq!(cells.sum(1_000_000), 0);
    }
}
