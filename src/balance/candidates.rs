//! One request's view of the endpoints: which of them may take it.
//!
//! Three degrees: ready, its circuit lets the request through; up, ready and no longer too cold;
//! usable, up and not tried by this request. Warm-up is a coin: an endpoint that deserves a third
//! of its share stands aside two times in three, which holds under every policy and needs no table
//! that changes with time.

use std::sync::Arc;

use crate::model::Endpoint;
use crate::runtime::clock::Rng;

/// What a new endpoint gets of its share at first (Envoy's slow start gives the same).
const COLDEST: f32 = 0.1;

/// What a request tells of itself.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Slots of the endpoints that were tried already.
    pub tried: &'a [u32],
    /// Of its key, where the policy hashes one and the request has it.
    pub hash: Option<u64>,
    pub now_us: u64,
}

/// The endpoints of a service, as one request sees them.
pub(super) struct Candidates<'a, 'q, R> {
    pub endpoints: &'a [Arc<Endpoint>],
    pub ask: Ask<'q>,
    pub ready: R,
    pub warmup_us: Option<u64>,
}

impl<'a, R: Fn(&Endpoint) -> bool> Candidates<'a, '_, R> {
    pub fn at(&self, index: u32) -> &'a Arc<Endpoint> {
        &self.endpoints[index as usize]
    }

    pub fn was_tried(&self, endpoint: &Endpoint) -> bool {
        self.ask.tried.contains(&endpoint.slot)
    }

    pub fn may_take(&self, endpoint: &Endpoint) -> bool {
        !self.was_tried(endpoint) && (self.ready)(endpoint)
    }

    pub fn is_up(&self, endpoint: &Endpoint, rng: &mut Rng) -> bool {
        (self.ready)(endpoint) && self.is_warm_enough(endpoint, rng)
    }

    pub fn is_usable(&self, endpoint: &Endpoint, rng: &mut Rng) -> bool {
        self.may_take(endpoint) && self.is_warm_enough(endpoint, rng)
    }

    fn is_warm_enough(&self, endpoint: &Endpoint, rng: &mut Rng) -> bool {
        let warmth = self.warmth(endpoint);
        warmth >= 1.0 || rng.unit() < f64::from(warmth)
    }

    /// Its weight, as far as it is warm.
    pub fn weight(&self, endpoint: &Endpoint) -> f32 {
        endpoint.weight as f32 * self.warmth(endpoint)
    }

    /// What an endpoint gets of its share, up to 1: its age by the window, and never so little that
    /// it would not warm up.
    fn warmth(&self, endpoint: &Endpoint) -> f32 {
        let Some(window_us) = self.warmup_us else { return 1.0 };
        if endpoint.since_us == 0 {
            return 1.0;
        }
        let age_us = self.ask.now_us.saturating_sub(endpoint.since_us);
        if age_us >= window_us { 1.0 } else { (age_us as f32 / window_us as f32).max(COLDEST) }
    }
}
