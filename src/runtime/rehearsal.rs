//! Places where a test may have whoever comes next panic, so that what a panic costs is measured and
//! not believed.
//!
//! There are none of them in a release build: passing one is no instruction there, and the page that
//! arms it (`POST /panic?at=…`, of a sidecar and of the control plane) is not compiled.

/// A task that can be made to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    InboundRequest,
    OutboundRequest,
    InboundStream,
    OutboundStream,
    /// The task that drives an HTTP/2 connection to another sidecar.
    Upstream,
    Accept,
    Tick,
    Worker,
    Resources,
    Session,
    Call,
    Housekeeping,
    Store,
}

/// Panics if a test asked for it here.
#[inline(always)]
#[track_caller]
pub fn pass(place: At) {
    #[cfg(debug_assertions)]
    armed::pass(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(debug_assertions)]
pub use armed::arm;

#[cfg(debug_assertions)]
mod armed {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::At;

    const PLACES: [(&str, At); 13] = [
        ("inbound-request", At::InboundRequest),
        ("outbound-request", At::OutboundRequest),
        ("inbound-stream", At::InboundStream),
        ("outbound-stream", At::OutboundStream),
        ("upstream", At::Upstream),
        ("accept", At::Accept),
        ("tick", At::Tick),
        ("worker", At::Worker),
        ("resources", At::Resources),
        ("session", At::Session),
        ("call", At::Call),
        ("housekeeping", At::Housekeeping),
        ("store", At::Store),
    ];
    static ARMED: [AtomicU32; PLACES.len()] = [const { AtomicU32::new(0) }; PLACES.len()];

    /// The next one to pass the place of this name panics; false if there is no such place.
    pub fn arm(name: &str) -> bool {
        let at = PLACES.iter().find(|(known, _)| *known == name);
        at.is_some_and(|(_, place)| {
            ARMED[*place as usize].fetch_add(1, Relaxed);
            true
        })
    }

    #[track_caller]
    pub fn pass(place: At) {
        let fewer = |times: u32| times.checked_sub(1);
        if ARMED[place as usize].fetch_update(Relaxed, Relaxed, fewer).is_ok() {
            panic!("rehearsed at {place:?}");
        }
    }
}
