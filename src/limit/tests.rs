//! Cases of bulkheads: their bounds, and limits that change under what is held.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Limits, Reason};

fn limits(max_connections: u32, max_requests: u32) -> Limits {
    let queue_timeout = Duration::from_secs(1);
    Limits {
        max_connections,
        max_requests,
        max_pending_requests: 1,
        queue_timeout,
        max_requests_per_connection: 7,
    }
}

/// Takes all the places for connections that there are.
fn connect_all(bulkhead: &Bulkhead) -> Vec<ConnectionTicket> {
    std::iter::from_fn(|| bulkhead.try_connect().ok()).collect()
}

#[test]
fn a_dropped_ticket_gives_its_place_back() {
    let bulkhead = Bulkhead::new(limits(1, 2));
    let first = bulkhead.try_admit().expect("a place");
    let _second = bulkhead.try_admit().expect("a place");
    assert_eq!(bulkhead.try_admit().err(), Some(Reason::OverflowRequests));
    drop(first);
    assert!(bulkhead.try_admit().is_ok());
    let connection = bulkhead.try_connect().expect("a place");
    assert_eq!(bulkhead.try_connect().err(), Some(Reason::OverflowConnections));
    drop(connection);
    assert!(bulkhead.try_connect().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_queue_for_connections_is_bounded_in_length_and_time() {
    let bulkhead = Bulkhead::new(limits(1, 2));
    let held = bulkhead.connect().await.expect("a place");
    let (waiting, refused) = tokio::join!(bulkhead.connect(), bulkhead.connect());
    assert_eq!(waiting.err(), Some(Reason::QueueTimeout));
    assert_eq!(refused.err(), Some(Reason::OverflowPending));
    assert_eq!(bulkhead.facts().pending, 0);
    drop(held);
    assert!(bulkhead.connect().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_queue_takes_over_what_is_given_back() {
    let bulkhead = Bulkhead::new(limits(1, 2));
    let held = bulkhead.connect().await.expect("a place");
    let give = async {
        assert_eq!(bulkhead.facts().pending, 1);
        drop(held);
        assert_eq!(bulkhead.try_connect().err(), Some(Reason::OverflowConnections), "it is next");
    };
    let (taken, ()) = tokio::join!(bulkhead.connect(), give);
    assert!(taken.is_ok());
}

#[test]
fn facts_say_what_is_taken_of_how_much() {
    let bulkhead = Bulkhead::new(limits(3, 5));
    let _requests = [bulkhead.try_admit(), bulkhead.try_admit()];
    let connection = bulkhead.try_connect();
    let expected = Facts { requests: 2, pending: 0, connections: 1, limits: limits(3, 5) };
    assert_eq!(bulkhead.facts(), expected);
    drop(connection);
    assert_eq!(bulkhead.facts(), Facts { connections: 0, ..expected });
}

#[test]
fn changed_limits_are_all_in_force() {
    let bulkhead = Bulkhead::new(limits(3, 5));
    let other = Limits {
        max_connections: 1,
        max_requests: 2,
        max_pending_requests: 3,
        queue_timeout: Duration::from_millis(4),
        max_requests_per_connection: 5,
    };
    bulkhead.retune(&other);
    assert_eq!(bulkhead.limits(), other);
    assert_eq!(bulkhead.max_requests_per_connection(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_changed_queue_is_as_long_as_it_says() {
    let bulkhead = Bulkhead::new(limits(0, 1));
    let queue_timeout = Duration::from_millis(10);
    bulkhead.retune(&Limits { max_pending_requests: 2, queue_timeout, ..limits(0, 1) });
    let begun = tokio::time::Instant::now();
    let (first, second, third) =
        tokio::join!(bulkhead.connect(), bulkhead.connect(), bulkhead.connect());
    assert_eq!(begun.elapsed().as_millis(), 10);
    assert_eq!(first.err(), Some(Reason::QueueTimeout));
    assert_eq!(second.err(), Some(Reason::QueueTimeout));
    assert_eq!(third.err(), Some(Reason::OverflowPending));
}

#[test]
fn fewer_requests_are_admitted_only_when_enough_have_ended() {
    let bulkhead = Bulkhead::new(limits(1, 4));
    let mut held: Vec<_> = (0..4).map(|_| bulkhead.try_admit().expect("a place")).collect();
    bulkhead.retune(&limits(1, 2));
    assert_eq!(bulkhead.requests(), 4, "what is under way stays");
    for left in [3, 2] {
        held.pop();
        assert_eq!(bulkhead.try_admit().err(), Some(Reason::OverflowRequests), "{left} are left");
    }
    held.pop();
    held.push(bulkhead.try_admit().expect("a place"));
    bulkhead.retune(&limits(1, 3));
    held.push(bulkhead.try_admit().expect("one more"));
    assert_eq!(bulkhead.try_admit().err(), Some(Reason::OverflowRequests));
}

#[test]
fn connections_pay_for_places_that_are_gone() {
    let bulkhead = Bulkhead::new(limits(5, 1));
    let mut held = connect_all(&bulkhead);
    bulkhead.retune(&limits(2, 1));
    while held.len() > 2 {
        held.pop();
        assert!(bulkhead.try_connect().is_err(), "{} are left", held.len());
    }
    held.pop();
    held.extend(connect_all(&bulkhead));
    assert_eq!(held.len(), 2);
    bulkhead.retune(&limits(4, 1));
    held.extend(connect_all(&bulkhead));
    assert_eq!(held.len(), 4);
    // A debt that is forgiven before it is paid.
    bulkhead.retune(&limits(1, 1));
    bulkhead.retune(&limits(6, 1));
    held.extend(connect_all(&bulkhead));
    assert_eq!(held.len(), 6);
    held.clear();
    assert_eq!(connect_all(&bulkhead).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_a_place_that_is_new() {
    let bulkhead = Bulkhead::new(limits(1, 1));
    let _held = bulkhead.try_connect().expect("a place");
    let grow = async { bulkhead.retune(&limits(2, 1)) };
    let (taken, ()) = tokio::join!(bulkhead.connect(), grow);
    assert!(taken.is_ok());
}

/// While limits change, workers come and go; in the end nothing is lost and nothing is left over.
#[test]
fn no_place_is_lost_while_limits_change() {
    let bulkhead = Bulkhead::new(limits(8, 8));
    let (highest, over) = (8, AtomicBool::new(false));
    let work = || {
        for _ in 0..3000 {
            let request = bulkhead.try_admit();
            let connection = bulkhead.try_connect();
            let Facts { requests, connections, .. } = bulkhead.facts();
            over.fetch_or(requests > highest || connections > highest, Relaxed);
            drop((request, connection));
        }
    };
    let change = || {
        for i in 0..3000 {
            bulkhead.retune(&limits(i % (highest + 1), i % (highest + 1)));
        }
    };
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(work)));
        scope.spawn(change);
    });
    assert!(!over.load(Relaxed), "more than ever may be");
    bulkhead.retune(&limits(3, 3));
    let Facts { requests, connections, .. } = bulkhead.facts();
    assert_eq!((requests, connections), (0, 0));
    assert_eq!(connect_all(&bulkhead).len(), 3);
    let requests: Vec<RequestTicket> = std::iter::from_fn(|| bulkhead.try_admit().ok()).collect();
    assert_eq!(requests.len(), 3);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    Connect,
    End(usize),
    Close(usize),
    Retune(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Admit),
        Just(Step::Connect),
        (0usize..8).prop_map(Step::End),
        (0usize..8).prop_map(Step::Close),
        (0u32..8).prop_map(Step::Retune),
    ]
}

proptest! {
    #[test]
    fn admitted_are_exactly_those_below_the_limit_in_force(
        first in 0u32..8,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let bulkhead = Bulkhead::new(limits(first, first));
        let (mut limit, mut requests, mut connections) = (first as usize, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Admit => {
                    let ticket = bulkhead.try_admit();
                    prop_assert_eq!(ticket.is_ok(), requests.len() < limit);
                    requests.extend(ticket.ok());
                }
                Step::Connect => {
                    let ticket = bulkhead.try_connect();
                    prop_assert_eq!(ticket.is_ok(), connections.len() < limit);
                    connections.extend(ticket.ok());
                }
                Step::End(which) if which < requests.len() => drop(requests.swap_remove(which)),
                Step::Close(which) if which < connections.len() => {
                    drop(connections.swap_remove(which));
                }
                Step::Retune(other) => {
                    limit = other as usize;
                    bulkhead.retune(&limits(other, other));
                }
                Step::End(_) | Step::Close(_) => {}
            }
            let facts = bulkhead.facts();
            prop_assert_eq!(facts.requests as usize, requests.len());
            prop_assert_eq!(facts.connections as usize, connections.len());
        }
    }
}
