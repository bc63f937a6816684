//! The resilience core under thousands of invented days: retries, hedges, budgets, circuits, limits
//! and balancing as the outbound path uses them, in time that is only counted.
//!
//! Each seed draws a policy, endpoints that fail, slow down, vanish and return, workers that hear of
//! changes late, and callers; after each event the core is held against a second, simpler account of
//! what it may do (`account`). The order of calls is that of `outbound::attempts`, which can't run
//! without sockets; what it calls is the real thing, `Backend::choose` included. The same seed gives
//! the same day.
//!
//! `OUTRIGGER_SEEDS=100000` runs more of them, `OUTRIGGER_SEED=7` one, with its events printed.

mod account;
mod day;
mod request;
mod whim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use day::{Day, Seen};

/// Days of an ordinary run.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn no_day_breaks_a_promise() {
    if let Some(seed) = number("OUTRIGGER_SEED") {
        println!("{:#?}", Day::of(seed, true).run());
        return;
    }
    let (next, last) = (AtomicU64::new(0), number("OUTRIGGER_SEEDS").unwrap_or(SEEDS));
    let work = || {
        let mut seen = Seen::default();
        while let seed = next.fetch_add(1, Relaxed)
            && seed < last
        {
            let day = catch_unwind(AssertUnwindSafe(|| Day::of(seed, false).run()));
            seen += day.unwrap_or_else(|_| {
                next.store(last, Relaxed);
                panic!("again: OUTRIGGER_SEED={seed} cargo test --test simulation -- --nocapture")
            });
        }
        seen
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let days: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for day in days {
            seen += day.join().expect("every promise was kept");
        }
    });
    println!("{last} days: {seen:?}");
    // Else the days are too quiet to say anything.
    for (what, count) in seen.all() {
        assert!(count >= last / 20, "only {count} {what} in {last} days");
    }
}

#[test]
fn a_seed_is_a_day() {
    let (one, again) = (Day::of(42, false).run(), Day::of(42, false).run());
    assert_eq!(format!("{one:?}"), format!("{again:?}"));
}
