//! What somebody was asked over time, step by step, up to the last slot that is over.
//!
//! Which steps those are is said here, and what was added up of them put together.

use std::time::SystemTime;

use super::directory::Directory;
use super::part::{Steps, Whole};
use super::report::Buckets;
use super::track::{SLOT_S, SLOTS, Sums, slot_ms, slot_of};
use crate::control::desk::unix_ms;

/// A chart of up to so many minutes shows every slot.
const FINE_MINUTES: u32 = 10;

/// A step of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub at_ms: i64,
    pub seconds: f64,
    pub sums: Sums,
}

/// Of the last so many minutes.
pub fn steps(name: &str, minutes: u32, now: SystemTime) -> Steps {
    let each = if minutes <= FINE_MINUTES { 1 } else { 3 };
    let slots = (minutes * 60 / SLOT_S).clamp(each, SLOTS) / each * each;
    let first = slot_of(unix_ms(now)).saturating_sub(slots);
    Steps { service: name.to_owned(), first, each, count: slots / each }
}

/// Oldest first, and none of a time before anybody's memory began.
pub fn points(whole: &Whole, directory: &Directory, steps: &Steps) -> Vec<Point> {
    let Steps { service, first, each, count } = steps;
    let [asked, received] = whole.steps(*count as usize, directory, service);
    let began = slot_of(whole.began_ms());
    let point = |((at, mut sums), received): ((u32, Sums), Sums)| {
        if sums.buckets == Buckets::default() {
            sums.buckets = received.buckets;
        }
        let (at_ms, seconds) = (slot_ms(first + at * each), f64::from(each * SLOT_S));
        Point { at_ms, seconds, sums }
    };
    let has_begun = |point: &Point| slot_of(point.at_ms) + each > began;
    (0..).zip(asked).zip(received).map(point).filter(has_begun).collect()
}
