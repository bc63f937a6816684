//! ClientHellos as clients send them, put together by a small builder, and broken in every length.

use super::super::{ClientHello, Hello, MAX_HELLO_BYTES, Sniff, read, sniff};
use proptest::prelude::*;

const GREASE: u16 = 0x2a2a;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PADDING: u16 = 21;
const KEY_SHARE: u16 = 51;

/// A hello in the making; extensions in the order they are added.
#[derive(Clone, Default)]
struct Builder {
    extensions: Vec<u8>,
}

impl Builder {
    fn extension(mut self, kind: u16, body: &[u8]) -> Self {
        self.extensions.extend(kind.to_be_bytes());
        self.extensions.extend(vector16(body));
        self
    }

    fn server_name(self, name: &[u8]) -> Self {
        self.extension(SERVER_NAME, &vector16(&[&[0], &vector16(name)[..]].concat()))
    }

    fn alpn(self, names: &[&[u8]]) -> Self {
        let list: Vec<u8> =
            names.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
        self.extension(ALPN, &vector16(&list))
    }

    /// X25519MLKEM768 (1,216 bytes) and X25519, behind GREASE, as browsers send them.
    fn post_quantum(self) -> Self {
        let share =
            |group: u16, length| [&group.to_be_bytes()[..], &vector16(&vec![7; length])].concat();
        let shares = [share(GREASE, 1), share(0x11ec, 1216), share(0x001d, 32)].concat();
        self.extension(KEY_SHARE, &vector16(&shares))
    }

    fn body(&self) -> Vec<u8> {
        let suites = [0x2a, 0x2a, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03];
        let fixed = [&[3, 3][..], &[9; 32], &[32], &[8; 32], &vector16(&suites), &[1, 0]].concat();
        [fixed, vector16(&self.extensions)].concat()
    }

    fn records(&self, fragment: usize) -> Vec<u8> {
        records(&message(&self.body()), fragment)
    }
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("tests build short vectors");
    [&length.to_be_bytes()[..], bytes].concat()
}

fn message(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[1, length[1], length[2], length[3]], body].concat()
}

fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message
        .chunks(fragment)
        .enumerate()
        .flat_map(|(n, bytes)| {
            [&[0x16, 3, if n == 0 { 1 } else { 3 }], &vector16(bytes)[..]].concat()
        })
        .collect()
}

fn usual() -> Builder {
    Builder::default()
        .extension(GREASE, &[])
        .server_name(b"Web.default.svc.cluster.local")
        .alpn(&[b"\x2a\x2a", b"outrigger-h2", b"outrigger-tcp"])
        .post_quantum()
        .extension(GREASE + 0x1010, &[0])
}

fn complete(bytes: &[u8]) -> ClientHello<'_> {
    match read(bytes) {
        Hello::Complete(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_post_quantum_hello_is_read_however_it_is_cut() {
    for fragment in [1, 2, 3, 4, 5, 7, 100, 1200, 1 << 14] {
        let bytes = usual().records(fragment);
        assert!(bytes.len() > 1400);
        // Every prefix of the few-record cuts, every seventeenth of those with a thousand records.
        for end in (0..bytes.len()).step_by(if fragment < 100 { 17 } else { 1 }) {
            assert_eq!(read(&bytes[..end]), Hello::Incomplete, "{end} of fragments of {fragment}");
            let found = sniff(&bytes[..end]);
            assert!([Sniff::NeedMore, Sniff::Tls].contains(&found), "{end} of {fragment}");
        }
        let followed = [&bytes[..], b"\x14\x03\x03\x00\x01\x01"].concat();
        let hello = complete(&followed);
        assert_eq!(hello.server_name(), Some("Web.default.svc.cluster.local"));
        let alpn: Vec<_> = hello.alpn().collect();
        assert_eq!(alpn, [&b"\x2a\x2a"[..], b"outrigger-h2", b"outrigger-tcp"]);
        assert!(hello.offers(b"outrigger-tcp") && !hello.offers(b"outrigger"));
        assert_eq!(sniff(&bytes), Sniff::Tls);
    }
}

#[test]
fn a_hello_in_one_record_is_not_copied() {
    let bytes = usual().records(1 << 14);
    let name = complete(&bytes);
    let name = name.server_name().expect("the hello names a server");
    assert!(bytes.as_ptr_range().contains(&name.as_ptr()));
}

#[test]
fn what_is_absent_is_none() {
    let empty = Builder::default().records(512);
    let before_extensions = {
        let body = Builder::default().body();
        records(&message(&body[..body.len() - 2]), 512)
    };
    for bytes in [empty, before_extensions] {
        let hello = complete(&bytes);
        assert_eq!(hello.server_name(), None);
        assert_eq!(hello.alpn().count(), 0);
    }
}

#[test]
fn large_hellos_are_read_up_to_the_bound() {
    let room = MAX_HELLO_BYTES - usual().extension(PADDING, &[]).records(1 << 14).len();
    for (padding, fragment, fits) in [
        (16 * 1024, 1 << 14, true),
        (48 * 1024, 1 << 14, true),
        (room - 15, 1 << 14, true), // three more record headers
        (room - 14, 1 << 14, false),
        (16 * 1024, 1, false),
    ] {
        let bytes = usual().extension(PADDING, &vec![0; padding]).records(fragment);
        assert_eq!(bytes.len() <= MAX_HELLO_BYTES, fits, "{padding}");
        match read(&bytes) {
            Hello::Complete(hello) => assert!(fits && hello.server_name().is_some(), "{padding}"),
            other => assert!(!fits && other == Hello::TooLarge, "{padding}: {other:?}"),
        }
    }
    let vast = [&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff], &[3, 3][..]].concat();
    assert_eq!(read(&vast), Hello::TooLarge);
}

#[test]
fn only_host_names_are_names() {
    for (name, valid) in [
        ("a", true),
        ("a.b-c.d", true),
        ("under_score.a", true),
        ("xn--bcher-kva.example", true),
        ("1.a", true),
        ("1.2.3.4", false),
        ("::1", false),
        ("a..b", false),
        ("a.", false),
        (".a", false),
        ("-a", false),
        ("a-.b", false),
        ("*.a", false),
        ("a b", false),
        ("a\0b", false),
        ("bücher.example", false),
        (&"a".repeat(64), false),
        (&["a"; 127].join("."), true),
        (&["a"; 128].join("."), false),
    ] {
        let bytes = Builder::default().server_name(name.as_bytes()).alpn(&[b"h2"]).records(4096);
        let hello = complete(&bytes);
        assert_eq!(hello.server_name(), valid.then_some(name), "{name}");
        assert!(hello.offers(b"h2"));
    }
}

#[test]
fn ambiguous_or_broken_extensions_are_refused() {
    let host = |name: &[u8]| [&[0], &vector16(name)[..]].concat();
    let start = Builder::default;
    for (what, builder) in [
        ("two server names", start().server_name(b"a").server_name(b"b")),
        (
            "two hosts",
            start().extension(SERVER_NAME, &vector16(&[host(b"a"), host(b"b")].concat())),
        ),
        ("empty host", start().server_name(b"")),
        ("empty name list", start().extension(SERVER_NAME, &[0, 0])),
        ("empty server name", start().extension(SERVER_NAME, &[])),
        (
            "bytes after names",
            start().extension(SERVER_NAME, &[vector16(&host(b"a")), vec![0]].concat()),
        ),
        ("name cut short", start().extension(SERVER_NAME, &[0, 4, 0, 0, 9, b'a'])),
        ("two alpn", start().alpn(&[b"a"]).alpn(&[b"b"])),
        ("empty alpn", start().alpn(&[])),
        ("empty protocol", start().alpn(&[b"a", b""])),
        ("protocol cut short", start().extension(ALPN, &[0, 2, 9, b'a'])),
        ("bytes after alpn", start().extension(ALPN, &[0, 2, 1, b'a', 0])),
    ] {
        assert_eq!(read(&builder.records(4096)), Hello::Not, "{what}");
    }
    let other_kind =
        start().extension(SERVER_NAME, &vector16(&[&[9, 0, 1, 7][..], &host(b"a")].concat()));
    assert_eq!(complete(&other_kind.records(4096)).server_name(), Some("a"));
}

#[test]
fn broken_records_and_bodies_are_refused() {
    let body = Builder::default().body();
    let with = |at: usize, byte: u8| {
        let mut changed = body.clone();
        changed[at] = byte;
        records(&message(&changed), 4096)
    };
    let message_of = |body: &[u8]| records(&message(body), 4096);
    let whole = usual().records(1 << 14);
    for (what, bytes) in [
        ("version 2", with(0, 2)),
        ("session of 33", with(34, 33)),
        ("session beyond the end", with(34, 255)),
        ("odd suites", with(68, 7)),
        ("no compression", message_of(&[&body[..77], &[0], &body[79..]].concat())),
        ("bytes after extensions", message_of(&[&body[..], &[0]].concat())),
        ("extensions cut short", message_of(&[&body[..body.len() - 2], &[0, 5, 0]].concat())),
        ("empty message", message_of(&[])),
        ("another message behind", records(&[message(&body), vec![14, 0, 0, 0]].concat(), 4096)),
        ("an empty record", [&[0x16, 3, 1, 0, 0], &whole[..]].concat()),
        ("an alert in between", {
            let mut bytes = usual().records(100);
            bytes[105] = 0x15;
            bytes
        }),
        ("ssl 2", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00".to_vec()),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        assert_eq!(read(&bytes), Hello::Not, "{what}");
    }
}

proptest! {
    /// One changed byte gives another hello, or none, but never one that reads beyond itself.
    #[test]
    fn a_changed_byte_never_panics(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        fragment in 1..2000usize,
    ) {
        let mut bytes = usual().records(fragment);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Hello::Complete(hello) = read(&bytes) {
            prop_assert!(hello.alpn().all(|name| !name.is_empty()));
            prop_assert!(hello.server_name().is_none_or(|name| !name.is_empty()));
        }
    }
}
