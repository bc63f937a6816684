//! mimalloc, called the way that it is fast.
//!
//! The usual binding asks for an alignment at every allocation, which sends everything above a
//! kilobyte down mimalloc's slow path although it aligns to 16 bytes anyway; connections' buffers
//! and requests' futures are just that large. Measured: 5 % of the instructions of a hop.

use std::alloc::{GlobalAlloc, Layout};
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
