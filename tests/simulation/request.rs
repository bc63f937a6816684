//! A request's way, as `outbound::attempts` goes it: rounds of attempts, others beside them, pauses.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::StatusCode;
use outrigger::balance::{self, Ask};
use outrigger::circuit::{self, Pass, Transition, Verdict};
use outrigger::limit::{ConnectionTicket, RequestTicket};
use outrigger::model::Endpoint;
use outrigger::outbound::Backend;
use outrigger::retry::{self, Hint};

use crate::account::{Begun, Ended};
use crate::day::{Day, Event};
use crate::whim::{Fate, one_in};

pub struct Request {
    worker: usize,
    backend: Arc<Backend>,
    ticket: Option<RequestTicket>,
    is_safe: bool,
    hash: u64,
    tried: Vec<u32>,
    lost: usize,
    /// Attempts that the budget allowed beside the first.
    granted: u32,
    retries: u32,
    round: u32,
    extra: u32,
    attempts: u32,
    running: Vec<Attempt>,
    /// What the round would end with.
    worst: Option<Fate>,
    waits: bool,
    answers: u32,
}

struct Attempt {
    number: u32,
    endpoint: Arc<Endpoint>,
    begun: Begun,
    begun_us: u64,
    fate: Fate,
    _place: ConnectionTicket,
}

impl Request {
    pub fn is_over(&self) -> bool {
        self.answers == 1 && self.running.is_empty() && self.ticket.is_none()
    }

    pub fn has_place(&self) -> bool {
        self.ticket.is_some()
    }

    pub fn connections(&self) -> u32 {
        self.running.len() as u32
    }
}

impl Day {
    pub fn arrive(&mut self) {
        self.seen.requests += 1;
        let worker = self.rng.below(self.workers.len());
        if !one_in(&mut self.rng, 4) {
            self.workers[worker] = Arc::clone(&self.backend);
        }
        let backend = Arc::clone(&self.workers[worker]);
        let before = backend.bulkhead.facts();
        let ticket = backend.bulkhead.try_admit().ok();
        let has_room = before.requests < self.backend.policy().limits.max_requests;
        assert_eq!(ticket.is_some(), has_room, "{before:?}");
        let request = self.requests.len();
        let is_in = ticket.is_some();
        self.requests.push(Request {
            worker,
            ticket,
            is_safe: !one_in(&mut self.rng, 3),
            hash: (self.rng.next_u64() % 20).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            tried: Vec::new(),
            lost: 0,
            granted: 0,
            retries: 0,
            round: 0,
            extra: 0,
            attempts: 0,
            running: Vec::new(),
            worst: None,
            waits: false,
            answers: 0,
            backend,
        });
        if !is_in {
            self.seen.shed += 1;
            return self.answer(request);
        }
        self.budget.deposit(self.now_us);
        self.account.asked(self.now_us);
        let limit = if one_in(&mut self.rng, 5) { 100_000 } else { 5_000_000 };
        let limit = 1_000 + self.rng.below(limit) as u64;
        self.later(limit, Event::Leave { request });
        self.begin_round(request);
    }

    fn begin_round(&mut self, number: usize) {
        let request = &mut self.requests[number];
        request.round += 1;
        request.worst = None;
        let (round, backend) = (request.round, Arc::clone(&request.backend));
        let hedge = backend.policy().hedge.filter(|_| request.is_safe);
        request.extra = hedge.map_or(0, |hedge| hedge.max_extra);
        let after = hedge.and_then(|of| retry::hedge_after(&of, &backend.latency, self.now_us));
        if let Some(after) = after {
            self.later(after.as_micros() as u64, Event::Hedge { request: number, round });
        }
        self.attempt(number);
        self.end_round(number);
    }

    /// Begins an attempt; one that can't begin ends at once.
    fn attempt(&mut self, number: usize) {
        let request = &mut self.requests[number];
        let backend = Arc::clone(&request.backend);
        let only_lost = request.lost == request.tried.len();
        let ask = Ask { tried: &request.tried, hash: Some(request.hash), now_us: self.now_us };
        let chosen = backend.choose(ask, request.is_safe, only_lost, &mut self.rng);
        let all = &backend.service.endpoints;
        let begun = self.account.chose(
            all,
            backend.policy(),
            &request.tried,
            (request.is_safe, only_lost),
            chosen,
            self.now_us,
        );
        let (Some((endpoint, pass)), Some(begun)) = (chosen, begun) else {
            request.worst = request.worst.or(Some(NOBODY));
            return;
        };
        self.seen.probes += u64::from(matches!(pass, Pass::Probe(_)));
        self.seen.needed += u64::from(pass == Pass::Needed);
        endpoint.health.in_flight.fetch_add(1, Relaxed);
        request.attempts += 1;
        request.tried.push(endpoint.slot);
        let before = backend.bulkhead.facts();
        let place = backend.bulkhead.try_connect().ok();
        let has_room = before.connections < self.backend.policy().limits.max_connections;
        assert_eq!(place.is_some(), has_room, "{before:?}");
        let Some(place) = place else {
            // No word about the endpoint.
            request.worst = request.worst.or(Some(NOBODY));
            let endpoint = Arc::clone(endpoint);
            return self.settle(number, &endpoint, begun, Verdict::Neither, 0);
        };
        let fate = self.mood(endpoint).fate(&mut self.rng);
        let (attempt, endpoint) = (self.requests[number].attempts, Arc::clone(endpoint));
        self.say(format_args!("{number}: attempt {attempt} at {}, {begun:?}", endpoint.workload));
        let begun_us = self.now_us;
        let running = Attempt { number: attempt, endpoint, begun, begun_us, fate, _place: place };
        self.requests[number].running.push(running);
        self.later(fate.after_us, Event::End { request: number, attempt });
    }

    fn settle(&mut self, of: usize, at: &Endpoint, begun: Begun, verdict: Verdict, took_us: u64) {
        let backend = Arc::clone(&self.requests[of].backend);
        let (all, policy) = (&backend.service.endpoints, &backend.policy().circuit);
        let (now_us, pass) = (self.now_us, begun.pass);
        let rng = &mut self.rng;
        let transition =
            circuit::settle(at, all, pass, verdict, Some(took_us), policy, now_us, rng);
        at.health.in_flight.fetch_sub(1, Relaxed);
        self.say(format_args!("{of}: {verdict:?} of {}, {transition:?}", at.workload));
        match transition {
            Some(Transition::Opened) => self.seen.opened += 1,
            Some(Transition::Closed) => self.seen.closed += 1,
            Some(Transition::HeldBack) => self.seen.held_back += 1,
            None => {}
        }
        let ended = Ended { verdict, took_us, transition };
        self.account.settled(at, all, begun, ended, policy, now_us);
    }

    pub fn end(&mut self, number: usize, attempt: u32) {
        let running = &mut self.requests[number].running;
        // It was given up.
        let Some(at) = running.iter().position(|of| of.number == attempt) else { return };
        let Attempt { endpoint, begun, begun_us, fate, _place, .. } = running.swap_remove(at);
        let took_us = self.now_us - begun_us;
        self.settle(number, &endpoint, begun, fate.verdict, took_us);
        let request = &mut self.requests[number];
        if fate.failed.is_none() {
            balance::observe(&endpoint.health, took_us, self.now_us);
            request.backend.latency.observe(took_us, self.now_us);
        } else {
            request.lost += 1;
        }
        if fate.failed.is_none() && !request.repeats(&fate) {
            request.worst = Some(fate);
            return self.answer(number);
        }
        if request.worst.is_none_or(|worst| worst.failed.is_some()) {
            request.worst = Some(fate);
        }
        self.end_round(number);
    }

    /// Another attempt, or the answer, once nothing is under way.
    fn end_round(&mut self, number: usize) {
        let request = &self.requests[number];
        if !request.running.is_empty() || request.answers > 0 {
            return;
        }
        let policy = &request.backend.policy().retry;
        let repeats = request.worst.is_some_and(|worst| request.repeats(&worst));
        if !repeats || request.retries >= policy.max_retries {
            return self.answer(number);
        }
        let pause = retry::pause(request.retries + 1, policy.backoff, &mut self.rng);
        let Some(wait) = retry::wait(pause, Hint::None, None) else { return self.answer(number) };
        assert!(wait <= policy.backoff.max.max(policy.backoff.base), "{wait:?}");
        if !self.withdraw() {
            return self.answer(number);
        }
        let request = &mut self.requests[number];
        (request.waits, request.granted) = (true, request.granted + 1);
        self.later(wait.as_micros() as u64, Event::Again { request: number });
    }

    fn withdraw(&mut self) -> bool {
        let granted = self.budget.try_withdraw(self.now_us);
        self.account.withdrew(granted, self.backend.policy().retry.budget, self.now_us);
        self.seen.over_budget += u64::from(!granted);
        granted
    }

    pub fn again(&mut self, number: usize) {
        let request = &mut self.requests[number];
        if !std::mem::take(&mut request.waits) || request.answers > 0 {
            return;
        }
        request.retries += 1;
        self.seen.retries += 1;
        self.begin_round(number);
    }

    pub fn hedge(&mut self, number: usize, round: u32) {
        let request = &self.requests[number];
        let Some(hedge) = request.backend.policy().hedge else { return };
        if request.round != round || request.running.is_empty() || request.extra == 0 {
            return;
        }
        let after = retry::hedge_after(&hedge, &request.backend.latency, self.now_us);
        if !self.withdraw() {
            self.requests[number].extra = 0;
            return;
        }
        self.seen.hedges += 1;
        let request = &mut self.requests[number];
        (request.extra, request.granted) = (request.extra - 1, request.granted + 1);
        self.attempt(number);
        let after = after.unwrap_or(Duration::from_millis(100));
        self.later(after.as_micros() as u64, Event::Hedge { request: number, round });
    }

    pub fn leave(&mut self, number: usize) {
        if self.requests[number].answers == 0 {
            self.answer(number);
        }
    }

    /// The caller has its answer, or went away: what is under way is given up.
    fn answer(&mut self, number: usize) {
        let request = &mut self.requests[number];
        request.answers += 1;
        assert_eq!(request.answers, 1, "answered twice");
        self.seen.answered += u64::from(request.worst.is_some_and(|of| of.status == 200));
        for Attempt { endpoint, begun, begun_us, .. } in std::mem::take(&mut request.running) {
            self.seen.given_up += 1;
            request.backend.latency.observe(self.now_us - begun_us, self.now_us);
            endpoint.health.in_flight.fetch_sub(1, Relaxed);
            circuit::give_back(&endpoint.health, begun.pass);
            self.account.dropped(&endpoint, begun);
        }
        request.ticket = None;
        assert!(request.attempts <= 1 + request.granted, "an attempt that no budget knows of");
        let hedge = request.backend.policy().hedge.map_or(0, |hedge| hedge.max_extra);
        let rounds = 1 + request.backend.policy().retry.max_retries;
        assert!(request.attempts <= rounds * (1 + hedge), "more attempts than the policy has");
        assert!(request.worker < self.workers.len());
    }
}

/// No endpoint, or no connection: nothing follows.
const NOBODY: Fate = Fate { after_us: 0, verdict: Verdict::Neither, failed: None, status: 0 };

impl Request {
    fn repeats(&self, fate: &Fate) -> bool {
        let policy = &self.backend.policy().retry;
        match fate.failed {
            Some(failed) => retry::repeats_failure(failed, self.is_safe, policy),
            None => StatusCode::from_u16(fate.status)
                .is_ok_and(|status| retry::repeats_answer(status, None, self.is_safe, policy)),
        }
    }
}
