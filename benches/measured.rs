//! Time and allocations of one call, for benches of the pure parts of a request.
//!
//! Only what the measuring thread allocates counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::time::Instant;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nanoseconds and allocations of one call, of so many after a tenth as many to warm up.
pub fn measure(calls: u32, mut call: impl FnMut()) -> (f64, f64) {
    (0..calls / 10).for_each(|_| call());
    let (before, begun) = (COUNT.with(Cell::get), Instant::now());
    (0..calls).for_each(|_| call());
    let (took, count) = (begun.elapsed(), COUNT.with(Cell::get) - before);
    (took.as_nanos() as f64 / f64::from(calls), count as f64 / f64::from(calls))
}

pub fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads this");
}
