//! What somebody was asked over time, step by step, up to the last slot that is over.
//!
//! Added up while the memory is held, in one pass over what is kept and into as many sums as the
//! chart has steps: however many routes somebody invents, nothing is copied for each.

use std::time::SystemTime;

use super::Memory;
use super::directory::Directory;
use super::graph::Callers;
use super::owners::Kind;
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

/// Of the last so many minutes, but not of a time before the memory began; oldest first.
pub fn points(
    memory: &Memory,
    directory: &Directory,
    name: &str,
    minutes: u32,
    now: SystemTime,
) -> Vec<Point> {
    let step = if minutes <= FINE_MINUTES { 1 } else { 3 };
    let slots = (minutes * 60 / SLOT_S).clamp(step, SLOTS) / step * step;
    let (end, began) = (slot_of(unix_ms(now)), slot_of(memory.began_ms));
    let first = end.saturating_sub(slots);
    let steps = (slots / step) as usize;
    let mut asked = vec![Sums::default(); steps];
    let mut received = vec![Sums::default(); steps];
    let state = memory.lock();
    let flows = state
        .owners
        .each()
        .filter(|(_, key, _)| key.kind == Kind::Flow && directory.may_mean(name, &key.to));
    let told = Callers::of(flows.map(|(owner, key, _)| (&**owner, &*key.to)));
    for (owner, key, series) in state.owners.each().filter(|(_, key, _)| *key.to == *name) {
        match key.kind {
            Kind::Received => series.track.add_to(&mut received, first, step),
            Kind::Caller if told.told(key, owner, directory) => {}
            Kind::Flow | Kind::Caller => series.track.add_to(&mut asked, first, step),
        }
    }
    drop(told);
    drop(state);
    let point = |((at, mut sums), received): ((u32, Sums), Sums)| {
        if sums.buckets == Buckets::default() {
            sums.buckets = received.buckets;
        }
        let (at_ms, seconds) = (slot_ms(first + at * step), f64::from(step * SLOT_S));
        Point { at_ms, seconds, sums }
    };
    let has_begun = |point: &Point| slot_of(point.at_ms) + step > began;
    (0..).zip(asked).zip(received).map(point).filter(has_begun).collect()
}
