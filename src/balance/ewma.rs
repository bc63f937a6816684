//! Peak EWMA: an estimate of how long an endpoint takes to begin its answer.
//!
//! A slower answer than expected counts at once and in full, so that trouble is seen within one
//! request; a faster one pulls the estimate down slowly. The estimate also decays while nothing is
//! sent, so that an endpoint that was slow once is tried again. (Finagle's "peak EWMA". Linkerd lets
//! it decay in ten seconds: then a slow first answer keeps a good endpoint idle for half a minute.)

use std::sync::atomic::Ordering::Relaxed;

use crate::model::EndpointHealth;

/// After this long an old observation weighs 1/e.
const DECAY_MS: f32 = 3_000.0;

/// Takes in that an answer began `took_us` after its request was sent.
///
/// Two workers that do this in the same instant may lose one of the two observations; an estimate
/// bears that, and a loop here would cost every request.
pub fn observe(health: &EndpointHealth, took_us: u64, now_us: u64) {
    let took = took_us as f32;
    let (old, at_ms) = unpack(health.ewma.load(Relaxed));
    let now_ms = (now_us / 1000) as u32;
    let estimate = if took >= old {
        took
    } else {
        let weight = (-(now_ms.wrapping_sub(at_ms) as f32) / DECAY_MS).exp();
        // An endpoint that is asked often must still come down within seconds.
        let weight = weight.min(0.98);
        old * weight + took * (1.0 - weight)
    };
    health.ewma.store(pack(estimate, now_ms), Relaxed);
}

/// Microseconds; `None` before the first observation.
pub fn estimate_us(health: &EndpointHealth, now_us: u64) -> Option<f32> {
    let bits = health.ewma.load(Relaxed);
    if bits == 0 {
        return None;
    }
    let (estimate, at_ms) = unpack(bits);
    let idle_ms = ((now_us / 1000) as u32).wrapping_sub(at_ms);
    // Below 100 ms the decay is under one percent and not worth an exp().
    Some(if idle_ms < 100 { estimate } else { estimate * (-(idle_ms as f32) / DECAY_MS).exp() })
}

fn pack(estimate: f32, at_ms: u32) -> u64 {
    u64::from(estimate.max(1.0).to_bits()) << 32 | u64::from(at_ms)
}

fn unpack(bits: u64) -> (f32, u32) {
    (f32::from_bits((bits >> 32) as u32), bits as u32)
}
