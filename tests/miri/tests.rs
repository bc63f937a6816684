//! Limits that several workers ask at once: nobody gets a place twice, and none is lost.

use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use super::Bulkhead;
use super::gcra::Pace;
use super::table::{give_back_to, take_from};
use crate::model::Limits;

#[test]
fn a_bucket_is_emptied_once() {
    let (bucket, pace) = (AtomicU64::new(0), Pace::new(1, Duration::from_secs(1), 5));
    let work = || (0..4).filter(|_| take_from(&bucket, pace, 7).is_ok()).count();
    let taken: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    assert_eq!(taken, 5);
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| give_back_to(&bucket, pace)))));
    assert_eq!((0..4).filter(|_| take_from(&bucket, pace, 7).is_ok()).count(), 2);
}

#[test]
fn places_are_as_many_as_the_limit_whoever_changes_it_meanwhile() {
    let limits = |most| Limits { max_requests: most, max_connections: most, ..Limits::default() };
    let bulkhead = Bulkhead::new(limits(2));
    let work = || {
        for _ in 0..3 {
            let held = (bulkhead.try_admit(), bulkhead.try_connect());
            thread::yield_now();
            drop(held);
        }
    };
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(work)));
        scope.spawn(|| [1, 4, 1, 3].map(|most| bulkhead.retune(&limits(most))));
    });
    let facts = bulkhead.facts();
    assert_eq!((facts.requests, facts.connections), (0, 0));
    let held: Vec<_> = (0..9).filter_map(|_| bulkhead.try_connect().ok()).collect();
    assert_eq!(held.len(), 3, "a place was lost or made");
}
