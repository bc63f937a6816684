//! Detection: an answer never changes when bytes follow, time is always answered, and a ClientHello
//! that is read here is read as rustls reads it.

use std::io::Cursor;

use outrigger::detect::{Hello, Sniff, read, sniff, sniff_final};

pub fn hold(data: &[u8]) {
    let whole = sniff(data);
    assert_ne!(sniff_final(data), Sniff::NeedMore, "time was up and nothing was decided");
    // Every cut of a short beginning, some of a long one.
    let step = (data.len() / 256).max(1);
    for cut in (1..data.len()).step_by(step) {
        let early = sniff(&data[..cut]);
        assert!(
            early == Sniff::NeedMore || early == whole,
            "{early:?} after {cut}, then {whole:?}"
        );
    }
    let hello = read(data);
    for cut in (0..data.len()).step_by(step) {
        let early = read(&data[..cut]);
        assert!(early == Hello::Incomplete || early == hello, "a hello changed after {cut} bytes");
    }
    // What rustls takes and is none here is passed through untouched: stricter is no harm.
    if let (Hello::Complete(hello), Some((name, protocols))) = (&hello, by_rustls(data)) {
        assert_eq!(hello.server_name().map(str::to_ascii_lowercase), name);
        assert!(hello.alpn().eq(protocols.iter().map(Vec::as_slice)), "another ALPN");
    }
}

/// Server name and ALPN of a hello that rustls accepts.
fn by_rustls(data: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = Cursor::new(data);
    loop {
        match acceptor.read_tls(&mut rest) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(str::to_ascii_lowercase);
                let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec);
                return Some((name, protocols.collect()));
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}
