//! What is done to each product in a repetition, and what figures come of it.

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};

use super::certificates::Certificates;
use super::figures::Figure;
use super::product::{Chain, Kind, Part, Place, Product, Speaks};
use super::{bodies, churn, grpc, handshakes, load, pace, tcp};
use crate::processes::free_address;

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(2);
const MIB: f64 = 1_048_576.0;
const START: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Hop,
    Pair,
    Grpc,
    Handshake,
    PostQuantum,
    Resumed,
    Churn,
    Body64K,
    Body1M,
    Tcp,
    Latency,
    Start,
    IdleHttp1,
    IdleHttp2,
}

impl Turn {
    pub const ALL: [Self; 14] = [
        Self::Hop,
        Self::Pair,
        Self::Grpc,
        Self::Handshake,
        Self::PostQuantum,
        Self::Resumed,
        Self::Churn,
        Self::Body64K,
        Self::Body1M,
        Self::Tcp,
        Self::Latency,
        Self::Start,
        Self::IdleHttp1,
        Self::IdleHttp2,
    ];

    /// A mesh's work is that of requests; the rest would only be measured twice. Debian's OpenSSL
    /// knows no post-quantum groups.
    pub fn is_for(self, kind: Kind) -> bool {
        use Turn::{Churn, Grpc, Handshake, Hop, Latency, Pair, PostQuantum, Resumed};
        match kind {
            Kind::Outrigger => true,
            Kind::Mesh => {
                matches!(self, Hop | Pair | Grpc | Handshake | Resumed | Churn | Latency)
            }
            Kind::Logged => matches!(self, Hop | Pair | Grpc),
            Kind::Haproxy | Kind::Nginx | Kind::Envoy => self != PostQuantum,
        }
    }
}

/// What stands at both ends.
pub struct Ends {
    app: SocketAddr,
    bodies: SocketAddr,
    grpc: SocketAddr,
    tcp: SocketAddr,
    certificates: Certificates,
}

const PAIR: [Place; 2] = [Place::Caller, Place::Called];

impl Ends {
    pub fn new() -> Self {
        Self {
            app: load::app(1)[0],
            bodies: bodies::app(),
            grpc: grpc::app(),
            tcp: tcp::app(),
            certificates: Certificates::make(),
        }
    }

    /// Starts the product as the turn needs it, and measures.
    pub fn take(&self, turn: Turn, product: &Product) -> Vec<(Figure, f64)> {
        let chain =
            |speaks, places, app| Chain::start(product, speaks, places, app, &self.certificates);
        let http = |places| chain(Speaks::Http1, places, self.app);
        let asked = |at: SocketAddr| move |long| load::run(at, long) as f64;
        match turn {
            Turn::Hop => {
                let chain = http(&[Place::Hop]);
                vec![(Figure::Hop, cpu_us(&chain, asked(chain.entrance)))]
            }
            Turn::Pair => {
                let chain = http(&PAIR);
                vec![(Figure::Pair, cpu_us(&chain, asked(chain.entrance)))]
            }
            Turn::Grpc => {
                let chain = chain(Speaks::Grpc, &PAIR, self.grpc);
                vec![(Figure::Grpc, cpu_us(&chain, |long| grpc::run(chain.entrance, long)))]
            }
            Turn::Handshake => self.handshake(product, Figure::Handshake, X25519, false),
            Turn::PostQuantum => {
                self.handshake(product, Figure::PostQuantum, X25519MLKEM768, false)
            }
            Turn::Resumed => self.handshake(product, Figure::Resumed, X25519, true),
            Turn::Churn => {
                let chain = http(&PAIR);
                vec![(Figure::Churn, cpu_us(&chain, |long| churn::run(chain.entrance, long)))]
            }
            Turn::Body64K => vec![(Figure::Body64K, self.body(product, 64 * 1024, 32))],
            Turn::Body1M => vec![(Figure::Body1M, self.body(product, 1024 * 1024, 16))],
            Turn::Tcp => {
                let chain = chain(Speaks::Tcp, &PAIR, self.tcp);
                vec![(Figure::Tcp, cpu_us(&chain, |long| tcp::run(chain.entrance, long)))]
            }
            Turn::Latency => {
                // Without any proxy, just before.
                let direct = pace::run(self.app, MEASURED);
                let chain = http(&PAIR);
                pace::run(chain.entrance, WARM_UP);
                let [p50, p90] = pace::run(chain.entrance, MEASURED);
                vec![(Figure::AddedP50, p50 - direct[0]), (Figure::AddedP90, p90 - direct[1])]
            }
            Turn::Start => vec![(Figure::Start, self.start_ms(product))],
            Turn::IdleHttp1 | Turn::IdleHttp2 => self.idle(product, turn == Turn::IdleHttp2),
        }
    }

    /// Nothing of a product that takes no tickets, where they are wanted.
    fn handshake(
        &self,
        product: &Product,
        figure: Figure,
        group: &'static dyn SupportedKxGroup,
        resumes: bool,
    ) -> Vec<(Figure, f64)> {
        let chain =
            Chain::start(product, Speaks::Http1, &[Place::Called], self.app, &self.certificates);
        let tls = self.certificates.caller(product.alpn(false), group, resumes);
        let resumed = Cell::new(0.0);
        let us = cpu_us(&chain, |long| {
            let counts = handshakes::run(chain.entrance, &tls, long);
            resumed.set(counts.resumed / counts.all);
            counts.all
        });
        if resumes && resumed.get() < 0.95 { Vec::new() } else { vec![(figure, us)] }
    }

    fn body(&self, product: &Product, bytes: usize, connections: usize) -> f64 {
        let chain = Chain::start(product, Speaks::Http1, &PAIR, self.bodies, &self.certificates);
        cpu_us(&chain, |long| bodies::run(chain.entrance, bytes, connections, long))
    }

    /// From exec, of the program itself and not of what launches it, to an answer of the app.
    fn start_ms(&self, product: &Product) -> f64 {
        let chain =
            Chain::start(product, Speaks::Http1, &[Place::Hop], self.app, &self.certificates);
        let product = product.at(chain.processes[0].program());
        drop(chain);
        let listen = free_address();
        let part = Part { speaks: Speaks::Http1, place: Place::Hop, listen, to: self.app };
        let begun = Instant::now();
        let process = product.start(&part, &self.certificates);
        while !answers(listen) {
            assert!(begun.elapsed() < START, "no answer: {}", process.log());
            std::thread::sleep(Duration::from_micros(500));
        }
        begun.elapsed().as_secs_f64() * 1e3
    }

    fn idle(&self, product: &Product, is_http2: bool) -> Vec<(Figure, f64)> {
        let chain =
            Chain::start(product, Speaks::Http1, &[Place::Called], self.app, &self.certificates);
        let tls = self.certificates.caller(product.alpn(is_http2), X25519, false);
        let process = &chain.processes[0];
        let [resident, each] = handshakes::idle(chain.entrance, &tls, is_http2, process);
        if is_http2 {
            return vec![(Figure::IdleHttp2, each / 1e3)];
        }
        vec![(Figure::Resident, resident / MIB), (Figure::IdleHttp1, each / 1e3)]
    }
}

/// Microseconds of CPU for each that `load` counts.
fn cpu_us(chain: &Chain, load: impl Fn(Duration) -> f64) -> f64 {
    load(WARM_UP);
    let before = chain.cpu();
    let count = load(MEASURED);
    (chain.cpu() - before).as_secs_f64() * 1e6 / count
}

/// Whether there is a 200.
fn answers(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app.default\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
