//! What one worker has under way in one direction, and what of it lasts.
//!
//! An exchange has a seat from when it is let in to its last byte. The worker's tick looks at all of
//! them: those that last are shown as open and have the bytes counted that went by since the last
//! look. A request that is through before that pays for a place in a list and no more; connections
//! and tunnels are there to last, and are shown from the beginning. A seat is left on drop, so
//! whatever breaks, nothing stays open that is over.

use std::cell::RefCell;
use std::rc::Rc;

use super::Exchange;

/// A request that takes longer is one that lasts. Arbitrary: the longest that people call quick.
const LASTS_US: u64 = 1_000_000;

/// What the bytes of an exchange go through.
pub trait Pipe {
    /// All of them so far, from downstream and to it; `None`: the exchange itself counts them.
    fn carried(&self) -> Option<(u64, u64)>;

    /// So many more of them are counted.
    fn count(&self, bytes_in: u64, bytes_out: u64);
}

/// Everything under way.
#[derive(Default)]
pub struct Roster {
    seats: RefCell<Vec<Taken>>,
}

struct Taken {
    exchange: Rc<Exchange>,
    pipe: Rc<dyn Pipe>,
}

/// An exchange's seat; it has no more than one at a time.
pub struct Seat {
    exchange: Rc<Exchange>,
}

impl Seat {
    pub fn take(exchange: &Rc<Exchange>, pipe: Rc<dyn Pipe>) -> Self {
        let mut seats = exchange.sinks.roster.seats.borrow_mut();
        exchange.seat.set(seats.len());
        seats.push(Taken { exchange: Rc::clone(exchange), pipe });
        drop(seats);
        Self { exchange: Rc::clone(exchange) }
    }

    /// Of what is there to last.
    pub fn lasting(exchange: &Rc<Exchange>, pipe: Rc<dyn Pipe>) -> Self {
        let seat = Self::take(exchange, pipe);
        exchange.show();
        seat
    }

    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(taken) = self.exchange.sinks.roster.leave(&self.exchange) {
            taken.settle();
        }
        if let Some(open) = self.exchange.open.take() {
            open.dec();
        }
    }
}

impl Roster {
    /// Shows what lasts, and counts its bytes so far. `now_us` is on the clock of its beginning.
    pub fn sweep(&self, now_us: u64) {
        for taken in &*self.seats.borrow() {
            if now_us.saturating_sub(taken.exchange.started_us) >= LASTS_US {
                taken.exchange.show();
                taken.settle();
            }
        }
    }

    fn leave(&self, exchange: &Rc<Exchange>) -> Option<Taken> {
        let (mut seats, at) = (self.seats.borrow_mut(), exchange.seat.get());
        if !seats.get(at).is_some_and(|taken| Rc::ptr_eq(&taken.exchange, exchange)) {
            return None;
        }
        let taken = seats.swap_remove(at);
        if let Some(moved) = seats.get(at) {
            moved.exchange.seat.set(at);
        }
        Some(taken)
    }
}

impl Taken {
    fn settle(&self) {
        let exchange = &self.exchange;
        let (all_in, all_out) = self.pipe.carried().unwrap_or_else(|| exchange.bytes());
        let (known_in, known_out) = exchange.counted.replace((all_in, all_out));
        let (more_in, more_out) =
            (all_in.saturating_sub(known_in), all_out.saturating_sub(known_out));
        exchange.sinks.count(more_in, more_out);
        self.pipe.count(more_in, more_out);
    }
}

impl Exchange {
    /// It lasts: it is open for all to see, once it is known to whom.
    fn show(&self) {
        let mut open = self.open.borrow_mut();
        let Some(meter) = self.meter().filter(|_| open.is_none() && self.endpoint.get().is_some())
        else {
            return;
        };
        let gauge = meter.open(self.spoken, self.peer.borrow().as_ref());
        gauge.inc();
        *open = Some(gauge);
    }
}
