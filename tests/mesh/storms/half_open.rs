//! Half-open handshakes: one address holds 2,000 connections to the control plane that never come to
//! their end. Whoever comes to work gets in within a second, and its pages answer.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};

use crate::harness::{ControlPlane, tls};

const MANY: usize = 2_000;
/// Nobody else in these scenarios comes from there.
const ATTACKER: &str = "127.0.0.66:0";
const NEIGHBOUR: &str = "127.0.0.1:0";

/// A connection from an address, on which this was said.
fn hold(from: &str, to: SocketAddr, said: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = from.parse().expect("an address");
    socket.bind(&from.into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("it is taken");
    let mut stream = TcpStream::from(socket);
    // It may have been closed already.
    let _ = std::io::Write::write_all(&mut stream, said);
    stream
}

/// All that a client says before the server must answer.
fn hello() -> Vec<u8> {
    let config = Arc::new(tls::client(None, &["h2"]));
    let name = ServerName::try_from("control.invalid").expect("a name");
    let mut client = ClientConnection::new(config, name).expect("a client");
    let mut said = Vec::new();
    client.write_tls(&mut said).expect("it is written to memory");
    said
}

/// The shortest of three: a busy machine may be late once.
#[track_caller]
fn within_a_second(what: &str, mut visit: impl FnMut()) {
    let times = [(); 3].map(|()| {
        let begun = Instant::now();
        visit();
        begun.elapsed()
    });
    let best = times.iter().min().copied().unwrap_or_default();
    eprintln!("| {what} | {times:?} |");
    assert!(best < Duration::from_secs(1), "{what}: {times:?}");
}

#[test]
fn half_open_handshakes_keep_no_sidecar_out() {
    let plane = ControlPlane::start(&[]);
    let web = plane.nobody().showing(&plane.joined("web"));
    let hello = hello();
    let ways = [("nothing", &hello[..0]), ("a byte", &hello[..1]), ("a hello", &hello[..])];
    for (name, said) in ways {
        for from in [ATTACKER, NEIGHBOUR] {
            // Whoever says all of it can be told from a sidecar only by where it comes from.
            if from == NEIGHBOUR && name == "a hello" {
                continue;
            }
            let held: Vec<_> = (0..MANY).map(|_| hold(from, plane.address, said)).collect();
            within_a_second(&format!("{MANY} from {from} said {name}"), || {
                web.welcome("web-1").expect("it is let in");
            });
            drop(held);
        }
    }
}

#[test]
fn half_open_connections_keep_nobody_from_the_pages() {
    let plane = ControlPlane::start(&[]);
    let hello = hello();
    for said in [&hello[..0], &hello[..1], &hello[..], b"GET /ready HTTP/1.1\r\n"] {
        let held: Vec<_> = (0..200).map(|_| hold(ATTACKER, plane.admin, said)).collect();
        within_a_second(&format!("200 said {} bytes to the pages", said.len()), || {
            assert_eq!(plane.page("/ready").map(|answer| answer.status()), Some(200));
        });
        drop(held);
    }
}
