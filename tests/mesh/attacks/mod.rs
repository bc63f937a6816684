//! Attacks, each named: what becomes of it, what it costs the sidecar, and that a neighbour, another
//! client of the same sidecar and app, loses nothing meanwhile.
//!
//! Each scenario prints a line: the attack, its outcome, the sidecar's memory and CPU, the
//! neighbour's success and p99 without and with it. Bounds are far below what the attack would take
//! of a sidecar that does not defend itself, and far above what a busy machine adds.

mod bombs;
mod doors;
mod floods;
mod frames;
mod half_open;
mod names;
mod neighbour;
mod readings;
mod slow;
mod slow_reading;
mod smuggling;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::doors::{Door, Scene};
use self::neighbour::Neighbour;
use crate::harness::within;

/// What an attack may cost the sidecar.
#[derive(Clone, Copy)]
struct Bounds {
    /// At its worst, in MiB above what it had.
    grows: f64,
    /// When the attack is over, the same.
    keeps: f64,
    cpu: Duration,
}

/// Traffic of the neighbour alone, to compare with.
const QUIET: Duration = Duration::from_millis(400);
/// No neighbour may wait so long, not even where other tests want the same two cores.
const P99: Duration = Duration::from_secs(3);
/// The allocator gives pages back in its own time.
const COMES_BACK: Duration = Duration::from_secs(15);

impl Scene {
    /// Attacks by a door of the sidecar, and holds it to its bounds; `attack` says what became of
    /// it.
    #[track_caller]
    fn attack(&self, name: &str, door: Door, bounds: Bounds, attack: impl FnOnce() -> String) {
        let victim = self.victim(door);
        let neighbour = Neighbour::at(self.neighbour_of(door));
        thread::sleep(QUIET);
        let (before, cpu) = (mib(victim.rss_kib()), victim.cpu());
        neighbour.danger_begins();
        let begun = Instant::now();
        let (is_over, most) = (AtomicBool::new(false), AtomicU64::new(0));
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    most.fetch_max(victim.rss_kib(), Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let _over = Over(&is_over);
            attack()
        });
        let took = begun.elapsed();
        let cpu = victim.cpu() - cpu;
        neighbour.goes_on(20);
        let met = neighbour.end();
        let mut after = mib(victim.rss_kib());
        let most = mib(most.load(Ordering::SeqCst)).max(after);
        eprintln!(
            "{name}, {door:?}: {outcome} in {took:.1?}; RSS {before:.1} MiB, at most {most:.1}, \
             then {after:.1}; CPU {} ms; {met}",
            cpu.as_millis()
        );
        let grew = most - before;
        assert!(grew <= bounds.grows, "{name}: it grew by {grew:.1} MiB");
        assert!(cpu <= bounds.cpu, "{name}: it took {cpu:?} of CPU");
        assert!(met.failures.is_empty(), "{name}: the neighbour met {:#?}", met.failures);
        assert!(met.endangered > 0, "{name}: the neighbour had no request under way");
        assert!(met.p99 < P99, "{name}: the neighbour waited {:?}", met.p99);
        within(COMES_BACK, "memory comes back", || {
            // What gives it back is work.
            self.ask_as_neighbour(door);
            after = mib(victim.rss_kib());
            after - before <= bounds.keeps
        });
    }
}

/// Says that an attack is over, however it ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
