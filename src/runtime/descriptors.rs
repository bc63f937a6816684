//! Descriptors are shared out, so that running out of them stops neither who is served already nor
//! who wants to see why.
//!
//! Of what connections may take, callers have half: each may need one to the app or the service, so
//! whoever is taken can be served. Other callers wait in the system's queue. What is left is for the
//! admin port, probes, files and the control plane.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many this process may have; unbounded until somebody asked.
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// What connections leave to everything else. Arbitrary: at rest some 20 are open.
const REST: u64 = 64;

/// Raises the limit to the hard limit.
///
/// # Errors
/// The system's.
pub fn raise() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that they are handed.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        LIMIT.store(limit.rlim_cur, Ordering::Relaxed);
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    LIMIT.store(limit.rlim_cur, Ordering::Relaxed);
    Ok(())
}

/// How many connections of callers there may be at once.
pub fn for_callers() -> usize {
    usize::try_from(callers_of(limit())).unwrap_or(usize::MAX)
}

/// Refuses a connection to the far side whose descriptor is of those that are left to others.
///
/// # Errors
/// As if there were none.
pub fn leave_the_rest(newest: &impl AsRawFd) -> io::Result<()> {
    // As many are open at least: a new one has the lowest number that is free (POSIX).
    let open = u64::try_from(newest.as_raw_fd()).unwrap_or_default();
    match open >= connections_of(limit()) {
        true => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        false => Ok(()),
    }
}

/// Whether an error says that this process, or its system, has no room for another socket.
pub fn are_exhausted(error: &io::Error) -> bool {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&code))
}

fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

fn callers_of(limit: u64) -> u64 {
    (limit - REST.min(limit / 2)) / 2
}

/// Where callers' requests need more than one connection each, they may have some of the rest.
fn connections_of(limit: u64) -> u64 {
    limit - (REST / 2).min(limit / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_part() {
        for (limit, callers, connections) in
            [(64, 16, 56), (128, 32, 112), (1024, 480, 992), (1 << 20, 524_256, 1_048_544)]
        {
            assert_eq!((callers_of(limit), connections_of(limit)), (callers, connections));
        }
    }

    #[test]
    fn without_a_limit_there_is_room() {
        let open = std::fs::File::open("/dev/null").expect("it is there");
        assert!(leave_the_rest(&open).is_ok() && for_callers() > 1 << 40);
    }
}
