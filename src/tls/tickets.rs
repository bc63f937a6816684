//! Coming back without a whole handshake: what a server gives its clients for that, and where a client
//! keeps it.
//!
//! A resumed session spares both ends their certificates and signatures, not the key exchange, and
//! hands back the chain of the first handshake, which is judged again ([`super::peer`]). All of it is
//! a part of [`super::Credentials`]: a new certificate, bundle or revocation begins with other keys
//! and without tickets, which is what bounds a row of tickets of which each was given for the one
//! before; each by itself lives for an hour. HTTP/2 connections stay and are shared, so nothing is
//! asked for there.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{
    ClientSessionStore, Resumption, TicketRequest, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::ProducesTickets;
use rustls::{ClientConfig, NamedGroup, ServerConfig};

use super::Alpn;
use crate::model::SpiffeId;

/// Seconds that a ticket lives.
const LIFE: u32 = 60 * 60;
/// For each connection; members of the mesh say how many they want, and it is never more.
const GIVEN: usize = 1;
/// Tickets kept for one place, of some 3 KB each; connections beyond them that begin together get
/// whole handshakes.
const KEPT: usize = 4;
/// Places remembered.
const PLACES: usize = 256;

/// Has a server give its clients tickets, under keys that nobody else has.
pub(super) fn issue(config: &mut ServerConfig) {
    config.max_tls13_tickets = GIVEN;
    // Without keys there are no tickets, and handshakes are whole.
    if let Ok(keys) = Ticketer::new() {
        config.ticketer = Arc::new(Dated { keys, now: || UnixTime::now().as_secs() });
        config.send_tls13_tickets = GIVEN;
    }
}

/// Tickets with the time when they were made in them: keys leave when they are used the next time,
/// which may be any time later.
struct Dated {
    keys: Arc<dyn ProducesTickets>,
    /// In Unix seconds.
    now: fn() -> u64,
}

impl ProducesTickets for Dated {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        LIFE
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&[&(self.now)().to_be_bytes(), plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = self.keys.decrypt(ticket)?;
        let (made, plain) = plain.split_first_chunk()?;
        let age = (self.now)().checked_sub(u64::from_be_bytes(*made))?;
        (age < u64::from(LIFE)).then(|| plain.to_vec())
    }
}

impl std::fmt::Debug for Dated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dated").finish_non_exhaustive()
    }
}

/// Where a client has been, each place with the tickets that it got there.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<(SocketAddr, Alpn), Place>>);

#[derive(Debug)]
struct Place {
    /// Who was expected there.
    who: SpiffeId,
    config: Arc<ClientConfig>,
}

impl Places {
    /// `base` with what is kept for this place and whoever is expected there.
    pub(super) fn config(
        &self,
        base: &Arc<ClientConfig>,
        alpn: Alpn,
        address: SocketAddr,
        who: &SpiffeId,
    ) -> Arc<ClientConfig> {
        if alpn == Alpn::H2 {
            return Arc::clone(base);
        }
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match places.get(&(address, alpn)) {
            Some(place) if place.who == *who => return Arc::clone(&place.config),
            _ => {}
        }
        if places.len() >= PLACES
            && let Some(any) = places.keys().next().copied()
        {
            places.remove(&any);
        }
        let mut config = ClientConfig::clone(base);
        config.resumption = Resumption::store(Arc::new(Kept::default()));
        config.send_ticket_request =
            Some(TicketRequest { new_session_count: 1, resumption_count: 1 });
        let config = Arc::new(config);
        let place = Place { who: who.clone(), config: Arc::clone(&config) };
        places.insert((address, alpn), place);
        config
    }

    /// What was got there is no good.
    pub(super) fn forget(&self, alpn: Alpn, address: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(address, alpn));
    }
}

/// The tickets of one place, the newest last, and when each came: servers of another make may say
/// that theirs live for days. Each is shown once, or an onlooker would know that two connections are
/// the same client's.
#[derive(Debug, Default)]
struct Kept(Mutex<VecDeque<(Instant, Tls13ClientSessionValue)>>);

impl Kept {
    fn tickets(&self) -> MutexGuard<'_, VecDeque<(Instant, Tls13ClientSessionValue)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Kept {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets();
        if tickets.len() == KEPT {
            tickets.pop_front();
        }
        tickets.push_back((Instant::now(), ticket));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let (came, ticket) = self.tickets().pop_back()?;
        (came.elapsed() < Duration::from_secs(LIFE.into())).then_some(ticket)
    }

    // All members of the mesh take the first group.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is never spoken in the mesh.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(1_000_000);

    #[test]
    fn a_ticket_is_taken_for_an_hour_however_rarely_any_is() {
        let keys = Ticketer::new().expect("keys");
        let dated = Dated { keys, now: || NOW.load(Ordering::Relaxed) };
        let ticket = dated.encrypt(b"secret").expect("a ticket");
        let after = |seconds: u64| {
            NOW.store(1_000_000 + seconds, Ordering::Relaxed);
            dated.decrypt(&ticket)
        };
        assert_eq!(after(0).as_deref(), Some(&b"secret"[..]));
        assert_eq!(after(3599).as_deref(), Some(&b"secret"[..]));
        assert_eq!(after(3600), None);
        NOW.store(999_999, Ordering::Relaxed);
        assert_eq!(dated.decrypt(&ticket), None, "made in the future");
        assert_eq!(dated.decrypt(b"nonsense"), None);
        assert_eq!(dated.decrypt(&dated.keys.encrypt(b"short").expect("a ticket")), None);
    }
}
