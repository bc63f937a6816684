//! Coming back without a whole handshake: what a server gives its clients for that, and where a client
//! keeps it.
//!
//! A resumed session spares both ends their certificates and signatures, not the key exchange, and
//! hands back the chain of the first handshake, which is judged again ([`super::peer`]). All of it is
//! a part of [`super::Credentials`]: a new certificate, bundle or revocation begins with other keys
//! and without tickets. HTTP/2 connections stay and are shared, so nothing is asked for there.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{
    ClientSessionStore, Resumption, TicketRequest, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::GetRandomFailed;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use rustls::{ClientConfig, NamedGroup, ServerConfig, TicketRotator};

use super::Alpn;
use crate::model::SpiffeId;

/// Seconds for which a key seals tickets; it opens them for as long again, so that no ticket lives
/// longer than an hour.
const SEALS: u32 = 30 * 60;
/// For a client that doesn't say how many it wants, as members of the mesh do.
const UNASKED: usize = 1;
/// For one that asks for more.
const ASKED: usize = 4;
/// Tickets kept for one place, of some 3 KB each; connections beyond them that begin together get
/// whole handshakes.
const KEPT: usize = 4;
/// Places remembered.
const PLACES: usize = 256;

/// Has a server give its clients tickets, under keys that nobody else has.
pub(super) fn issue(config: &mut ServerConfig) {
    config.max_tls13_tickets = ASKED;
    let keys = || match Ticketer::new() {
        Ok(keys) => Ok(Box::new(Keys(keys)) as Box<dyn ProducesTickets>),
        Err(_) => Err(GetRandomFailed),
    };
    // Without keys there are no tickets, and handshakes are whole.
    if let Ok(keys) = TicketRotator::new(SEALS, keys) {
        config.ticketer = Arc::new(keys);
        config.send_tls13_tickets = UNASKED;
    }
}

/// One set of keys, as the rotator takes it.
#[derive(Debug)]
struct Keys(Arc<dyn ProducesTickets>);

impl ProducesTickets for Keys {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        SEALS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(ticket)
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
        if places.len() >= PLACES {
            // Whoever calls that many anew each hour gains little by remembering them.
            places.clear();
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
}

/// The tickets of one place, the newest last. Each is shown once, or an onlooker would know that two
/// connections are the same client's.
#[derive(Debug, Default)]
struct Kept(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl Kept {
    fn tickets(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Kept {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets();
        if tickets.len() == KEPT {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets().pop_back()
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
