//! The adaptive limit: how many requests at once keep the app busy without making them wait.
//!
//! While the app has room, more at once means more answers and the same latency; from then on it
//! means the same answers and more latency. So the limit grows while latency is like the best of
//! late, and when it has doubled, as many at once are left as the best latency would need for the
//! same rate (Little's law), a tenth less: what waited in the app drains, at little cost in answers,
//! and the best latency is measured anew without being asked for. That is what Envoy's gradient
//! stops all traffic but three requests for, now and then, and what Netflix' does not do, so that
//! under lasting overload its baseline drifts up.
//!
//! The best latency is that of the first two windows after such a step, or after the step before: an
//! app that became slower is believed after two steps, and the limit grows back from there.
//!
//! Latency is the mean of a window, which is what Little's law is about; one answer counts for no
//! more than ten times the best, so that a request of a minute among many of a millisecond moves it
//! little. A mean of few says little, so that windows wait for enough.

/// A window's answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Mean, in microseconds.
    pub latency_us: f64,
    /// The most requests that were under way at once.
    pub peak: u32,
}

/// The adaptive limit of one port.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
    min: f64,
    max: f64,
    /// The best latency of this stretch, and of the one before.
    best_us: [f64; 2],
    /// Windows of this stretch.
    age: u32,
    /// The latency at twice the limit, while the first best one is looked for.
    halved_us: Option<f64>,
}

/// Latency has to be so many times the best before fewer are let in: below, ordinary variation would
/// do; above, everybody waits for long. Arbitrary; Netflix has 1.5 of a long mean.
const TOLERANCE: f64 = 2.0;
/// Of what the best latency would need, so that the app's queue drains even where the best was
/// measured a little high.
const DRAIN: f64 = 0.9;
/// Who begins under load has nothing to compare with. The limit is halved for as long as that makes
/// latency this much better: then the rest of it is the app's own.
const HALVES: f64 = 0.8;
/// Later windows are the best one only if they are this much better, which is more than chance: the
/// least of many would be lower than any honest mean.
const BETTER: f64 = 0.7;
/// An answer that took so many times the best says no more than that.
const OUTLIER: f64 = 10.0;
/// The best is the mean of so many windows, and no step follows another in fewer.
const SETTLED: u32 = 2;
/// At first. As Netflix' and Envoy's defaults are small: who begins low makes nobody wait.
const FIRST: f64 = 32.0;

impl Gradient {
    /// Never lower than `min` nor higher than `max`.
    pub fn new(min: u32, max: u32) -> Self {
        let (min, max) = (f64::from(min), f64::from(max));
        let (limit, halved_us) = (FIRST.clamp(min, max), Some(f64::INFINITY));
        Self { limit, min, max, best_us: [f64::INFINITY; 2], age: 0, halved_us }
    }

    /// From now on other bounds hold.
    pub fn rebound(&mut self, min: u32, max: u32) {
        (self.min, self.max) = (f64::from(min), f64::from(max));
        self.limit = self.limit.clamp(self.min, self.max);
    }

    /// How many may be under way.
    pub fn limit(&self) -> u32 {
        self.limit.round() as u32
    }

    /// The best latency of late, in microseconds, if there is one.
    pub fn best_us(&self) -> Option<f64> {
        let best = self.best_us[0].min(self.best_us[1]);
        best.is_finite().then_some(best)
    }

    /// What one answer counts for at most, in microseconds.
    pub fn most_us(&self) -> u64 {
        self.best_us().map_or(u64::MAX >> 16, |best| (best * OUTLIER) as u64)
    }

    /// Learns from a window. True: fewer are let in from now on, and answers to what is under way say
    /// nothing of that.
    pub fn learn(&mut self, window: Window) -> bool {
        let Window { latency_us, peak } = window;
        let is_near = f64::from(peak) * 2.0 >= self.limit;
        if let Some(before) = self.halved_us.take()
            && is_near
            && latency_us <= before * HALVES
            && self.limit > self.min
        {
            self.limit = (self.limit / 2.0).max(self.min);
            self.halved_us = Some(latency_us);
            return true;
        }
        self.age += 1;
        let [best, _] = &mut self.best_us;
        *best = match self.age {
            1 => latency_us,
            SETTLED => f64::midpoint(*best, latency_us),
            _ if latency_us < *best * BETTER => latency_us,
            _ => *best,
        };
        let best = self.best_us[0].min(self.best_us[1]);
        let times = latency_us / best;
        if times >= TOLERANCE && self.age >= SETTLED {
            self.limit = (self.limit / times * DRAIN).max(self.min);
            self.best_us = [f64::INFINITY, self.best_us[0]];
            self.age = 0;
            return true;
        }
        // A limit that nobody comes near says nothing of how much more there could be; and the best
        // is measured where nothing waits.
        if is_near && self.age >= SETTLED {
            let room = 1.0 - (times - 1.0) / (TOLERANCE - 1.0);
            // A root is small beside what is under way, and lets a small limit grow fast.
            let more = self.limit.sqrt().max(self.limit / 16.0) * room.max(0.25);
            self.limit = (self.limit + more).min(self.max);
        }
        false
    }
}
