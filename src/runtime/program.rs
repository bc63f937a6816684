//! The program's own pages.

use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Unmaps the program's code, once: to start takes several times what serving does. What is needed
/// again comes back from the page cache, sixteen pages at a time.
pub fn forget_start() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    // Without the list nothing is lost but some megabytes.
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for code in maps.lines().filter_map(code) {
        // SAFETY: what may be run of a file is the same when it is read again; nobody writes to it.
        unsafe { libc::madvise(code.start as *mut c_void, code.len(), libc::MADV_DONTNEED) };
    }
}

/// Of proc_pid_maps(5): the addresses of what may be run, and not written to, of a file.
fn code(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (range, may, file) = (words.next()?, words.next()?, words.nth(3)?);
    let (start, end) = range.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    (may == "r-xp" && file.starts_with('/')).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_may_be_run_of_a_file() {
        let line = |may, file| format!("55e0-1b3f0 {may} 00339000 08:01 1234    {file}");
        assert_eq!(code(&line("r-xp", "/usr/bin/a b")), Some(0x55e0..0x1b3f0));
        for (may, file) in [("r--p", "/a"), ("rwxp", "/a"), ("r-xp", "[vdso]"), ("r-xp", "")] {
            assert_eq!(code(&line(may, file)), None);
        }
        assert_eq!(code(""), None);
    }

    #[test]
    fn what_was_forgotten_still_runs() {
        let here = code as *const () as usize;
        let maps = fs::read_to_string("/proc/self/maps").expect("it is there");
        assert!(maps.lines().filter_map(code).any(|code| code.contains(&here)), "{maps}");
        forget_start();
        assert_eq!(maps.lines().filter_map(code).count(), maps.matches("r-xp").count() - 1);
    }
}
