//! mimalloc, called the way that it is fast.
//!
//! The usual binding asks for an alignment at every allocation, which sends everything above a
//! kilobyte down mimalloc's slow path although it aligns to 16 bytes anyway; connections' buffers
//! and requests' futures are just that large. Measured: 5 % of the instructions of a hop.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;

use libmimalloc_sys as mi;

/// mimalloc's own guarantee for blocks of at least this size (`MI_MAX_ALIGN_SIZE`).
const ALIGNED_ANYWAY: usize = 16;

/// The allocator of both binaries.
#[derive(Debug)]
pub struct Allocator;

fn is_plain(layout: &Layout) -> bool {
    layout.align() <= ALIGNED_ANYWAY && layout.align() <= layout.size()
}

// SAFETY: mimalloc keeps the contract of `malloc`, `realloc` and `free`; alignments that it does not
// guarantee by itself are asked for.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: both take any size; the alignment of a `Layout` is a power of two.
        unsafe {
            if is_plain(&layout) {
                mi::mi_malloc(layout.size()).cast()
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if is_plain(&layout) {
                mi::mi_zalloc(layout.size()).cast()
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, _layout: Layout) {
        // SAFETY: the caller has `at` from this allocator.
        unsafe { mi::mi_free(at.cast::<c_void>()) }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller has `at` from this allocator, with this alignment.
        unsafe {
            if layout.align() <= ALIGNED_ANYWAY && layout.align() <= size {
                mi::mi_realloc(at.cast::<c_void>(), size).cast()
            } else {
                mi::mi_realloc_aligned(at.cast::<c_void>(), size, layout.align()).cast()
            }
        }
    }
}

thread_local! {
    /// Connections whose memory this thread has freed since it last gave memory back, as many as
    /// there were at the last look, and looks since then.
    static FREED: [Cell<u32>; 3] = const { [const { Cell::new(0) }; 3] };
}

/// Below so many it is not worth a look: a megabyte, about.
const WORTH: u32 = 64;
/// Where connections never stop to end, memory goes back after so many looks all the same.
const LOOKS: u32 = 16;

/// A connection ended on this thread, or went to rest.
pub fn freed_connection() {
    FREED.with(|[freed, ..]| freed.set(freed.get().saturating_add(1)));
}

/// Gives what this thread has freed back to the system once no more is being freed; to be called at
/// each tick. By itself the allocator does so only while something is being allocated, and what a
/// thousand connections held would stay with a sidecar that has nothing to do.
pub fn give_back() {
    FREED.with(|[freed, before, looks]| {
        let (now, looked) = (freed.get(), looks.get());
        if now < WORTH {
            return;
        }
        if now == before.get() || looked >= LOOKS {
            [freed, before, looks].into_iter().for_each(|count| count.set(0));
            // SAFETY: it takes no pointer, and frees nothing that is in use.
            unsafe { mi::mi_collect(true) };
        } else {
            before.set(now);
            looks.set(looked + 1);
        }
    });
}

/// Runs before `main`, and before most of the memory that the process will hold is touched.
#[used]
#[unsafe(link_section = ".init_array")]
static SMALL_PAGES: extern "C" fn() = small_pages;

/// Huge pages would make two megabytes resident for every few kilobytes in use: 10 MiB for an idle
/// sidecar that needs 2. A sidecar is one of many on its host.
extern "C" fn small_pages() {
    // SAFETY: takes no pointer; a kernel that does not know it says so, and nothing is lost.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
