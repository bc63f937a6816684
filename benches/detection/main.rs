//! What it costs to tell a connection's protocol from its first bytes: measured, never judged.
//!
//! Beginnings as clients send them: some are told from whole, some from their first bytes alone, and
//! TLS from a hello that rustls made, with the post-quantum key share and without.
//! `cargo bench --bench detection`; a few seconds. Each line says nanoseconds and allocations of one
//! look.

#[path = "../measured.rs"]
mod measured;

use std::hint::black_box;
use std::sync::Arc;

use outrigger::detect::{Hello, Sniff, read, sniff, sniff_final};
use rustls::crypto::CryptoProvider;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use measured::{measure, say};

const CALLS: u32 = 1_000_000;
const NAME: &str = "api.shop.example";

fn main() {
    say("FIRST BYTES                     BYTES         NS ALLOCATIONS");
    let get = "GET /shop/items?page=2 HTTP/1.1\r\nHost: api.shop\r\nAccept: */*\r\n\r\n";
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2_000));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let hello = hello(X25519MLKEM768);
    for (name, bytes, expected) in [
        ("HTTP/1", get.as_bytes(), Sniff::Http1),
        ("HTTP/1, a long line", long.as_bytes(), Sniff::Http1),
        ("HTTP/1, half a line", &get.as_bytes()[..12], Sniff::NeedMore),
        ("HTTP/2 preface", preface.as_bytes(), Sniff::Http2),
        ("HTTP/2, half a preface", &preface.as_bytes()[..12], Sniff::NeedMore),
        ("TLS", &hello, Sniff::Tls),
        ("opaque: Redis", b"*1\r\n$4\r\nPING\r\n", Sniff::Opaque),
        ("opaque: PostgreSQL", b"\0\0\0\x08\x04\xd2\x16\x2f", Sniff::Opaque),
    ] {
        look(name, bytes, || sniff(black_box(bytes)) == expected);
    }
    let half = &get.as_bytes()[..12];
    look("HTTP/1, half, time is up", half, || sniff_final(black_box(half)) == Sniff::Http1);
    for (name, group) in [("a hello", X25519MLKEM768), ("a hello, X25519", X25519)] {
        let bytes = self::hello(group);
        look(name, &bytes, || match read(black_box(&bytes)) {
            Hello::Complete(hello) => {
                hello.server_name() == Some(NAME) && hello.offers(b"outrigger-h2")
            }
            _ => false,
        });
    }
    let half = &hello[..hello.len() / 2];
    look("half a hello", half, || matches!(read(black_box(half)), Hello::Incomplete));
    let split = in_two_records(&hello);
    look("a hello in two records", &split, || {
        matches!(read(black_box(&split)), Hello::Complete(_))
    });
}

/// One line, of a look that finds what it should.
fn look(name: &str, bytes: &[u8], is_found: impl Fn() -> bool) {
    assert!(is_found(), "{name}");
    let (ns, allocations) = measure(CALLS, || {
        black_box(is_found());
    });
    say(&format!("{name:<30} {:6} {ns:10.1} {allocations:11.2}", bytes.len()));
}

/// What a sidecar sends first.
fn hello(group: &'static dyn SupportedKxGroup) -> Vec<u8> {
    let provider = CryptoProvider {
        kx_groups: vec![group],
        ..CryptoProvider::clone(outrigger::tls::provider())
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("suites of TLS 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = [&b"outrigger-h1"[..], b"outrigger-h2"].map(Vec::from).into();
    let name = ServerName::try_from(NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("written");
    bytes
}

/// The same message, cut after its first hundred bytes.
fn in_two_records(hello: &[u8]) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).expect("less than a record").to_be_bytes();
        [&[0x16, 3, 1][..], &length, part].concat()
    };
    let (first, second) = hello[5..].split_at(100);
    [record(first), record(second)].concat()
}
