//! Client-first bytes of real protocols, each judged whole and at every prefix.

use super::super::Sniff::{self, Http1, Http2, NeedMore, Opaque, Tls};
use super::super::{MAX_REQUEST_LINE_BYTES, sniff, sniff_final};

/// Whole beginnings and what they are.
const CERTAIN: &[(&str, &[u8], Sniff)] = &[
    ("get", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Http1),
    ("http/1.0", b"GET /x HTTP/1.0\r\n", Http1),
    ("post", b"POST /a?b=c HTTP/1.1\r\n", Http1),
    ("options *", b"OPTIONS * HTTP/1.1\r\n", Http1),
    ("absolute form", b"GET http://a.b/c HTTP/1.1\r\n", Http1),
    ("connect", b"CONNECT db.default:5432 HTTP/1.1\r\n", Http1),
    ("connect ipv6", b"CONNECT [::1]:443 HTTP/1.1\r\n", Http1),
    ("webdav", b"PROPFIND /dav HTTP/1.1\r\n", Http1),
    ("ssdp", b"M-SEARCH * HTTP/1.1\r\n", Http1),
    ("method of 32", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\n", Http1),
    ("leading empty line", b"\r\nGET / HTTP/1.1\r\n", Http1),
    ("utf-8 target", "GET /café HTTP/1.1\r\n".as_bytes(), Http1),
    ("unknown version", b"GET /x HTTP/9.9\r\n", Http1),
    ("trailing blank", b"GET / HTTP/1.1 \r\n", Http1),
    ("blank in target", b"GET /a b HTTP/1.1\r\n", Http1),
    ("blank in version", b"GET / HTTP/ 1.1\r\n", Http1),
    ("trailing word", b"GET / HTTP/1.1 x\r\n", Http1),
    ("two blanks", b"GET  /  HTTP/1.1\r\n", Http1),
    ("tabs", b"GET\t/\tHTTP/1.1\r\n", Http1),
    ("no target", b"GET HTTP/1.1\r\n", Http1),
    ("no slash", b"GET x HTTP/1.1\r\n", Http1),
    ("lower case", b"get / http/1.1\r\n", Http1),
    ("bare lf", b"GET / HTTP/1.1\n", Http1),
    ("bare cr", b"GET / HTTP/1.1\rHost: a\r\n", Http1),
    ("nul in target", b"GET /\0 HTTP/1.1\r\n", Http1),
    ("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04", Http2),
    ("preface that goes wrong", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Http1),
    ("preface with headers", b"PRI * HTTP/2.0\r\nHost: a\r\n", Http1),
    ("tls 1.0 record", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Tls),
    ("tls 1.2 record", b"\x16\x03\x03\x02\x00\x01\x00", Tls),
    ("tls, one byte records", b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00", Tls),
    ("tls, full record", b"\x16\x03\x01\x40\x00\x01\x00\x40\x10", Tls),
    ("ssl 3", b"\x16\x03\x00\x00\x50\x01", Opaque),
    ("ssl 2", b"\x80\x2e\x01\x03\x01\x00\x15", Opaque),
    ("tls, empty record", b"\x16\x03\x01\x00\x00\x01", Opaque),
    ("tls, record too long", b"\x16\x03\x01\x40\x01\x01", Opaque),
    ("tls, server hello", b"\x16\x03\x03\x00\x7a\x02", Opaque),
    ("tls alert", b"\x15\x03\x03\x00\x02\x02\x28", Opaque),
    ("http/0.9", b"GET /\r\n", Opaque),
    ("method of 33", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", Opaque),
    ("http response", b"HTTP/1.1 200 OK\r\n", Opaque),
    ("http without the first letter", b" ET / HTTP/1.1\r\n", Opaque),
    ("redis inline", b"PING\r\n", Opaque),
    ("redis resp", b"*1\r\n$4\r\nPING\r\n", Opaque),
    ("redis set", b"SET a b\r\n", Opaque),
    ("redis get", b"GET a\r\n", Opaque),
    ("redis get, path key", b"GET /a/b\r\n", Opaque),
    ("redis set, http value", b"SET a HTTP/1.1\r\n", Opaque),
    ("memcached get", b"get key\r\n", Opaque),
    ("memcached set", b"set k 0 0 5\r\nhello\r\n", Opaque),
    ("memcached binary", b"\x80\x00\x00\x03", Opaque),
    ("smtp", b"EHLO host\r\n", Opaque),
    ("smtp old", b"HELO host\r\n", Opaque),
    ("lmtp", b"LHLO host\r\n", Opaque),
    ("ftp", b"USER anonymous\r\n", Opaque),
    ("imap", b"a001 LOGIN u p\r\n", Opaque),
    ("pop3", b"CAPA\r\n", Opaque),
    ("irc", b"NICK x\r\nUSER x 0 * :x\r\n", Opaque),
    ("irc capabilities", b"CAP LS 302\r\n", Opaque),
    ("ssh", b"SSH-2.0-OpenSSH_9.6\r\n", Opaque),
    ("ssh with comment", b"SSH-2.0-OpenSSH_9.6 Ubuntu-3\r\n", Opaque),
    ("telnet", b"\xff\xfd\x18", Opaque),
    ("postgresql tls request", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Opaque),
    ("postgresql startup", b"\x00\x00\x00\x21\x00\x03\x00\x00user\0", Opaque),
    ("mysql login", b"\x20\x00\x00\x01\x85\xae\xff\x00", Opaque),
    ("mongodb", b"\x47\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07", Opaque),
    ("mongodb of length 'GET '", b"GET \x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07", Opaque),
    ("amqp 0.9.1", b"AMQP\x00\x00\x09\x01", Opaque),
    ("amqp 1.0", b"AMQP\x03\x01\x00\x00", Opaque),
    ("kafka", b"\x00\x00\x00\x2b\x00\x12\x00\x03", Opaque),
    ("zookeeper", b"\x00\x00\x00\x2d\x00\x00", Opaque),
    ("mqtt", b"\x10\x10\x00\x04MQTT\x04", Opaque),
    ("stomp", b"CONNECT\naccept-version:1.2\n\n\0", Opaque),
    ("stomp, crlf", b"CONNECT\r\naccept-version:1.2\r\n", Opaque),
    ("stomp 1.2", b"STOMP\nhost:a\n\n\0", Opaque),
    ("nats", b"CONNECT {\"verbose\":false,\"name\":\"a HTTP/1\"}\r\nPING\r\n", Opaque),
    ("nats sub", b"SUB foo 1\r\n", Opaque),
    ("nsq", b"  V2IDENTIFY\n", Opaque),
    ("beanstalkd", b"put 0 0 60 5\r\nhello\r\n", Opaque),
    ("rtsp", b"OPTIONS rtsp://a/b RTSP/1.0\r\n", Opaque),
    ("rtsp *", b"OPTIONS * RTSP/1.0\r\n", Opaque),
    ("sip", b"OPTIONS sip:a@b SIP/2.0\r\n", Opaque),
    ("sip invite", b"INVITE sip:a@b SIP/2.0\r\n", Opaque),
    ("icap", b"OPTIONS icap://a/b ICAP/1.0\r\n", Opaque),
    ("cassandra", b"\x04\x00\x00\x00\x05\x00\x00\x00\x00", Opaque),
    ("ldap", b"\x30\x0c\x02\x01\x01\x60\x07", Opaque),
    ("thrift framed", b"\x00\x00\x00\x1c\x80\x01\x00\x01", Opaque),
    ("thrift binary", b"\x80\x01\x00\x01\x00\x00\x00\x04ping", Opaque),
    ("thrift compact", b"\x82\x21\x01\x04ping", Opaque),
    ("git", b"0032git-upload-pack /a\0host=b\0", Opaque),
    ("rsync", b"@RSYNCD: 31.0\n", Opaque),
    ("proxy protocol 1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n", Opaque),
    ("proxy protocol 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Opaque),
    ("elasticsearch", b"ES\0\0\0\x2b", Opaque),
    ("tds", b"\x12\x01\x00\x2f", Opaque),
    ("rdp", b"\x03\x00\x00\x13\x0e", Opaque),
    ("smb", b"\x00\x00\x00\x85\xffSMB", Opaque),
    ("socks 5", b"\x05\x01\x00", Opaque),
    ("xmpp", b"<?xml version='1.0'?>", Opaque),
    ("fix", b"8=FIX.4.4\x019=70\x01", Opaque),
    ("graphite", b"servers.a.cpu 42 1700000000\n", Opaque),
    ("statsd", b"a.b:1|c\n", Opaque),
    ("syslog", b"<34>1 2003-10-11T22:14:15Z a b\n", Opaque),
    ("access log", b"10.0.0.1 - - \"GET / HTTP/1.1\" 200\n", Opaque),
    ("json lines", b"{\"a\":\"GET / HTTP/1.1\"}\n", Opaque),
    ("dns", b"\x00\x1d\xab\xcd\x01\x00", Opaque),
    ("whois", b"example.com\r\n", Opaque),
    ("finger", b"\r\n", NeedMore),
    ("nothing but line ends", b"\r\n\r\n\r\n\r\n\r\n", Opaque),
];

/// Beginnings, and what they count as when nothing more came in time.
const TIME_IS_UP: &[(&[u8], Sniff)] = &[
    (b"", Opaque),
    (b"G", Opaque),
    (b"GE", Opaque),
    (b"GET", Http1),
    (b"GETX", Opaque),
    (b"GET ", Http1),
    (b"GET /", Http1),
    (b"GET / ", Http1),
    (b"GET / HT", Http1),
    (b"GET / HTTP/1.1\r", Http1),
    (b"GET / HTTP/1.1\rHost: a\r", Http1),
    (b"GET h", Http1),
    (b"GET http://a", Http1),
    (b"\r\nGET /", Http1),
    (b"get /", Http1),
    (b"get ", Opaque),
    (b"get", Opaque),
    (b"GET key", Opaque),
    (b"FOO /", Http1),
    (b"FOO ", Opaque),
    (b"SET a", Opaque),
    (b"NICK x", Opaque),
    (b"EHLO host", Opaque),
    (b"PUBLISH * x", Opaque),
    (b"CONNECT", Http1),
    (b"CONNECT a.b:4", Http1),
    (b"CONNECT a.b:443 HTTP/", Http1),
    (b"OPTIONS * RTSP", Opaque),
    (b"OPTIONS rtsp://a", Opaque),
    (b"SSH-2.0", Opaque),
    (b"PR", Opaque),
    (b"PRI", Http2),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Http2),
    (b"PRI /", Http1),
    (b"\x16", Opaque),
    (b"\x16\x03", Opaque),
    (b"\x16\x03\x01", Tls),
    (b"\x16\x03\x01\x02\x00", Tls),
    (b"\x16\x03\x01\x02\x00\x01", Tls),
    (b"\r\n", Opaque),
];

pub(super) fn beginnings() -> Vec<Vec<u8>> {
    let certain = CERTAIN.iter().map(|(_, bytes, _)| *bytes);
    let unfinished = TIME_IS_UP.iter().map(|(bytes, _)| *bytes);
    certain.chain(unfinished).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_protocol_is_told_at_every_prefix() {
    for (name, bytes, expected) in CERTAIN {
        assert_eq!(sniff(bytes), *expected, "{name}");
        for end in 0..bytes.len() {
            let found = sniff(&bytes[..end]);
            assert!(found == NeedMore || found == *expected, "{name}: {found:?} at {end}");
        }
    }
}

#[test]
fn an_unfinished_beginning_counts_as_what_it_promises() {
    for (bytes, expected) in TIME_IS_UP {
        let name = bytes.escape_ascii();
        assert_eq!(sniff_final(bytes), *expected, "{name}");
        assert!([NeedMore, *expected].contains(&sniff(bytes)), "{name}");
    }
}

/// What speaks binary must not wait for the timer.
#[test]
fn binary_protocols_are_opaque_by_their_first_two_bytes() {
    for first in (0..=255u8).filter(|byte| !byte.is_ascii_alphabetic() && *byte != 0x16) {
        if !matches!(first, b'\r' | b'\n') {
            assert_eq!(sniff(&[first]), Opaque, "{first:#x}");
        }
        assert_eq!(sniff(&[b'G', first, 0]), Opaque, "{first:#x}");
    }
}

#[test]
fn a_line_without_end_is_judged_by_its_beginning() {
    let long = |head: &[u8], byte, length| [head, &vec![byte; length - head.len()]].concat();
    for (head, byte, expected) in [
        (&b"GET /"[..], b'a', Http1),
        (b"GET / HTTP/1.1 ", b'1', Http1),
        (b"CONNECT ", b'a', Http1),
        (b"GET ", b' ', Opaque),
        (b"GET x", b'a', Opaque),
        (b"log ", b'a', Opaque),
    ] {
        let name = head.escape_ascii();
        let mut bytes = long(head, byte, MAX_REQUEST_LINE_BYTES - 1);
        assert_eq!(sniff(&bytes), NeedMore, "{name}");
        bytes.push(byte);
        assert_eq!(sniff(&bytes), expected, "{name}");
        bytes.extend(b" HTTP/1.1\r\n");
        assert_eq!(sniff(&bytes), expected, "{name}, with an end out of reach");
    }
}
