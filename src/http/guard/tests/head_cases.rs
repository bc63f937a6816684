//! Cases about heads: request lines, fields, hosts, framing, bounds.

use super::super::Rule;
use super::cases::Case;
use super::cases::Outcome::{self, Holds, Passes, Refuses, Waits};

type Row = (&'static str, &'static str, Outcome);

const fn no(rule: Rule) -> Outcome {
    Refuses(0, rule)
}

pub(super) fn cases() -> Vec<Case> {
    let whole = WHOLE
        .iter()
        .map(|&(name, input, outcome)| Case::new(name, input, outcome));
    let lines = REQUEST_LINES.iter().map(|&(name, line, outcome)| {
        Case::new(
            name,
            format!("{line}\r\nHost: example.com\r\n\r\n"),
            outcome,
        )
    });
    let fields = FIELDS.iter().map(|&(name, fields, outcome)| {
        Case::new(
            name,
            format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"),
            outcome,
        )
    });
    let hosts = HOSTS.iter().map(|&(name, host, outcome)| {
        Case::new(
            name,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            outcome,
        )
    });
    whole
        .chain(lines)
        .chain(fields)
        .chain(hosts)
        .chain(bounds())
        .collect()
}

/// The request line, before `Host: example.com`.
#[rustfmt::skip]
const REQUEST_LINES: &[Row] = &[
    ("path", "GET / HTTP/1.1", Passes(1)),
    ("path and query", "GET /a/b;c=d?e=f&g=%20|h/?i HTTP/1.1", Passes(1)),
    ("two slashes", "GET //a HTTP/1.1", Passes(1)),
    ("quotes and braces in a path", "GET /{\"a\"} HTTP/1.1", Passes(1)),
    ("HTTP/1.0", "GET / HTTP/1.0", Passes(1)),
    ("unknown method", "PURGE / HTTP/1.1", Passes(1)),
    ("method of every kind of tchar", "a!#$%&'*+-.^_`|~9 / HTTP/1.1", Passes(1)),
    ("absolute form", "GET http://example.com/a?b HTTP/1.1", Passes(1)),
    ("absolute form, other case", "GET HTTP://EXAMPLE.com/ HTTP/1.1", Passes(1)),
    ("absolute form, default port", "GET http://example.com:80/ HTTP/1.1", Passes(1)),
    ("absolute form, https default port", "GET https://example.com:443/ HTTP/1.1", Passes(1)),
    ("absolute form without path", "GET http://example.com HTTP/1.1", Passes(1)),
    ("absolute form, query only", "GET http://example.com?a HTTP/1.1", Passes(1)),
    ("absolute form, another host", "GET http://evil.com/ HTTP/1.1", no(Rule::HostContradiction)),
    ("absolute form, another port", "GET http://example.com:81/ HTTP/1.1", no(Rule::HostContradiction)),
    ("absolute form, other scheme's port", "GET https://example.com:80/ HTTP/1.1", no(Rule::HostContradiction)),
    ("absolute form, trailing dot", "GET http://example.com./ HTTP/1.1", no(Rule::HostContradiction)),
    ("absolute form, HTTP/1.0 contradiction", "GET http://evil.com/ HTTP/1.0", no(Rule::HostContradiction)),
    ("absolute form, user information", "GET http://u@example.com/ HTTP/1.1", no(Rule::TargetAuthority)),
    ("absolute form, no host", "GET http:///a HTTP/1.1", no(Rule::TargetAuthority)),
    ("absolute form, bad port", "GET http://example.com:x/ HTTP/1.1", no(Rule::TargetAuthority)),
    ("absolute form, backslash for a slash", "GET http://example.com\\@evil.com/ HTTP/1.1", no(Rule::TargetAuthority)),
    ("absolute form, fragment after host", "GET http://example.com#@evil.com/ HTTP/1.1", no(Rule::Fragment)),
    ("absolute form, one slash", "GET http:/example.com/ HTTP/1.1", no(Rule::TargetForm)),
    ("absolute form, foreign scheme", "GET ftp://example.com/ HTTP/1.1", no(Rule::TargetForm)),
    ("no slash", "GET a/b HTTP/1.1", no(Rule::TargetForm)),
    ("query without path", "GET ?a HTTP/1.1", no(Rule::TargetForm)),
    ("authority form without CONNECT", "GET example.com:80 HTTP/1.1", no(Rule::AuthorityForm)),
    ("bare host without CONNECT", "GET example.com HTTP/1.1", no(Rule::AuthorityForm)),
    ("small connect is not CONNECT", "connect example.com:80 HTTP/1.1", no(Rule::AuthorityForm)),
    ("CONNECT", "CONNECT example.com:443 HTTP/1.1", Holds(1)),
    ("CONNECT in HTTP/1.0", "CONNECT example.com:443 HTTP/1.0", Holds(1)),
    ("CONNECT without port", "CONNECT example.com HTTP/1.1", no(Rule::ConnectTarget)),
    ("CONNECT with port 0", "CONNECT example.com:0 HTTP/1.1", no(Rule::ConnectTarget)),
    ("CONNECT with path", "CONNECT / HTTP/1.1", no(Rule::ConnectTarget)),
    ("CONNECT, absolute form", "CONNECT http://example.com:80/ HTTP/1.1", no(Rule::ConnectTarget)),
    ("CONNECT with user", "CONNECT u@example.com:80 HTTP/1.1", no(Rule::ConnectTarget)),
    ("CONNECT to another host", "CONNECT evil.com:443 HTTP/1.1", no(Rule::HostContradiction)),
    ("OPTIONS *", "OPTIONS * HTTP/1.1", Passes(1)),
    ("OPTIONS with path", "OPTIONS /a HTTP/1.1", Passes(1)),
    ("GET *", "GET * HTTP/1.1", no(Rule::AsteriskForm)),
    ("OPTIONS */x", "OPTIONS */x HTTP/1.1", no(Rule::TargetForm)),
    ("fragment", "GET /a#b HTTP/1.1", no(Rule::Fragment)),
    ("fragment in query", "GET /a?b#c HTTP/1.1", no(Rule::Fragment)),
    ("backslash in path", "GET /..\\a HTTP/1.1", no(Rule::TargetByte)),
    ("angle bracket in path", "GET /<a> HTTP/1.1", no(Rule::TargetByte)),
    ("quote in query", "GET /?\"a\" HTTP/1.1", no(Rule::TargetByte)),
    ("raw UTF-8 in path", "GET /é HTTP/1.1", no(Rule::TargetByte)),
    ("DEL in path", "GET /\x7f HTTP/1.1", no(Rule::ControlByte)),
    ("NUL in path", "GET /\0 HTTP/1.1", no(Rule::Nul)),
    ("bare CR in path", "GET /\rX HTTP/1.1", no(Rule::BareCr)),
    ("vertical tab in path", "GET /\x0ba HTTP/1.1", no(Rule::ControlByte)),
    ("space in path", "GET /a b HTTP/1.1", no(Rule::RequestLine)),
    ("two spaces before target", "GET  / HTTP/1.1", no(Rule::RequestLine)),
    ("two spaces after target", "GET /  HTTP/1.1", no(Rule::RequestLine)),
    ("tab after method", "GET\t/ HTTP/1.1", no(Rule::RequestLine)),
    ("tab before version", "GET /\tHTTP/1.1", no(Rule::RequestLine)),
    ("tabs only", "GET\t/\tHTTP/1.1", no(Rule::RequestLine)),
    ("space before method", " GET / HTTP/1.1", no(Rule::RequestLine)),
    ("space after version", "GET / HTTP/1.1 ", no(Rule::RequestLine)),
    ("no target", "GET HTTP/1.1", no(Rule::RequestLine)),
    ("empty target", "GET  HTTP/1.1", no(Rule::RequestLine)),
    ("method alone", "GET", no(Rule::RequestLine)),
    ("HTTP/0.9", "GET /", no(Rule::RequestLine)),
    ("two versions", "GET / HTTP/1.1 HTTP/1.1", no(Rule::RequestLine)),
    ("method with a colon", "GET: / HTTP/1.1", no(Rule::Method)),
    ("method with a quote", "\"GET\" / HTTP/1.1", no(Rule::Method)),
    ("method with a slash", "A/B / HTTP/1.1", no(Rule::Method)),
    ("method in UTF-8", "GÉT / HTTP/1.1", no(Rule::Method)),
    ("method with NUL", "G\0T / HTTP/1.1", no(Rule::Nul)),
    ("HTTP/1.2", "GET / HTTP/1.2", no(Rule::Version)),
    ("HTTP/2.0", "GET / HTTP/2.0", no(Rule::Version)),
    ("HTTP/1.10", "GET / HTTP/1.10", no(Rule::Version)),
    ("HTTP/01.1", "GET / HTTP/01.1", no(Rule::Version)),
    ("HTTP/1", "GET / HTTP/1", no(Rule::Version)),
    ("small http", "GET / http/1.1", no(Rule::Version)),
    ("another protocol", "GET / ICY/1.1", no(Rule::Version)),
    ("CR before the end of the line", "GET / HTTP/1.1\r", no(Rule::BareCr)),
];

/// The value of the only Host header.
#[rustfmt::skip]
const HOSTS: &[Row] = &[
    ("host name and port", "example.com:8080", Passes(1)),
    ("host with underscore", "a_b.svc", Passes(1)),
    ("IPv4", "127.0.0.1:10000", Passes(1)),
    ("IPv6", "[::1]", Passes(1)),
    ("IPv6 and port", "[2001:db8::1]:65535", Passes(1)),
    ("whitespace around a host", "\t a \t", Passes(1)),
    ("empty host", "", no(Rule::Host)),
    ("two hosts", "a, b", no(Rule::Host)),
    ("two hosts without space", "a,b", no(Rule::Host)),
    ("space in host", "a b", no(Rule::Host)),
    ("user in host", "a@b", no(Rule::Host)),
    ("path in host", "a/b", no(Rule::Host)),
    ("address in host", "http://a", no(Rule::Host)),
    ("query in host", "a?b", no(Rule::Host)),
    ("percent in host", "a%2eb", no(Rule::Host)),
    ("UTF-8 in host", "é", no(Rule::Host)),
    ("port without host", ":80", no(Rule::Host)),
    ("empty port", "a:", no(Rule::Host)),
    ("port with letters", "a:8o", no(Rule::Host)),
    ("port with sign", "a:+80", no(Rule::Host)),
    ("port with leading zero", "a:080", no(Rule::Host)),
    ("port too large", "a:65536", no(Rule::Host)),
    ("port far too large", "a:4294967376", no(Rule::Host)),
    ("two ports", "a:80:80", no(Rule::Host)),
    ("IPv6 without brackets", "::1", no(Rule::Host)),
    ("IPv6 unclosed", "[::1", no(Rule::Host)),
    ("IPv6 invalid", "[::g]", no(Rule::Host)),
    ("IPv6 with zone", "[fe80::1%eth0]", no(Rule::Host)),
    ("name after IPv6", "[::1]evil.com", no(Rule::Host)),
    ("empty brackets", "[]", no(Rule::Host)),
];

/// Fields between `Host: a` and the empty line of a POST.
#[rustfmt::skip]
const FIELDS: &[Row] = &[
    ("plain field", "Accept: */*", Passes(1)),
    ("field without space", "Accept:*/*", Passes(1)),
    ("empty field value", "Accept:", Passes(1)),
    ("blank field value", "Accept: \t ", Passes(1)),
    ("tab in value", "Accept: a\tb", Passes(1)),
    ("high bytes in value", "X: é", Passes(1)),
    ("colons in value", "X: a:b:c", Passes(1)),
    ("the same field twice", "X: a\r\nX: b", Passes(1)),
    ("NUL in value", "X: a\0b", no(Rule::Nul)),
    ("bare CR in value", "X: a\rb", no(Rule::BareCr)),
    ("bare CR hiding a field", "X: a\rTransfer-Encoding: chunked", no(Rule::BareCr)),
    ("CR at the end of a value", "X: a\r", no(Rule::BareCr)),
    ("bare CR as an empty line", "X: a\r\n\rGET / HTTP/1.1", no(Rule::BareCr)),
    ("bare LF between fields", "X: a\nY: b", no(Rule::BareLf)),
    ("bare LF hiding a field", "X: a\nContent-Length: 5", no(Rule::BareLf)),
    ("bare LF as an empty line", "X: a\r\n\nGET / HTTP/1.1", no(Rule::BareLf)),
    ("backspace in value", "X: a\x08b", no(Rule::ControlByte)),
    ("escape in value", "X: \x1b[2J", no(Rule::ControlByte)),
    ("DEL in value", "X: \x7f", no(Rule::ControlByte)),
    ("form feed before value", "X:\x0ca", no(Rule::ControlByte)),
    ("space before colon", "X : a", no(Rule::SpaceInFieldName)),
    ("tab before colon", "X\t: a", no(Rule::SpaceInFieldName)),
    ("space in name", "X Y: a", no(Rule::SpaceInFieldName)),
    ("folded line", "X: a\r\n b", no(Rule::ObsFold)),
    ("line folded with a tab", "X: a\r\n\tb", no(Rule::ObsFold)),
    ("folded blank line", "X: a\r\n ", no(Rule::ObsFold)),
    ("folded field", "X: a\r\n Y: b", no(Rule::ObsFold)),
    ("empty name", ": a", no(Rule::EmptyFieldName)),
    ("no colon", "X", no(Rule::MissingColon)),
    ("name in quotes", "\"X\": a", no(Rule::FieldName)),
    ("name with parentheses", "X(a): b", no(Rule::FieldName)),
    ("name with a slash", "X/Y: b", no(Rule::FieldName)),
    ("name in UTF-8", "É: a", no(Rule::FieldName)),
    ("NUL in name", "X\0: a", no(Rule::Nul)),
    ("control character in name", "X\x01: a", no(Rule::ControlByte)),
    ("bare CR before colon", "X\r: a", no(Rule::BareCr)),
    ("bare CR before name", "\rX: a", no(Rule::BareCr)),
    ("second host", "Host: a", no(Rule::SeveralHosts)),
    ("second host, other case", "hOST: b", no(Rule::SeveralHosts)),
    ("second host after fields", "X: a\r\nY: b\r\nHost: b", no(Rule::SeveralHosts)),
    ("length 0", "Content-Length: 0", Passes(1)),
    ("length with leading zeros", "Content-Length: 000", Passes(1)),
    ("length with whitespace around", "Content-Length: \t0\t", Passes(1)),
    ("length, other case", "CONTENT-LENGTH: 5", Waits(1)),
    ("length, largest", "Content-Length: 9223372036854775807", Waits(1)),
    ("length above i64", "Content-Length: 9223372036854775808", no(Rule::ContentLength)),
    ("length above u64", "Content-Length: 18446744073709551616", no(Rule::ContentLength)),
    ("length wraps to 5", "Content-Length: 18446744073709551621", no(Rule::ContentLength)),
    ("length with plus", "Content-Length: +5", no(Rule::ContentLength)),
    ("length with minus", "Content-Length: -5", no(Rule::ContentLength)),
    ("length -0", "Content-Length: -0", no(Rule::ContentLength)),
    ("length empty", "Content-Length:", no(Rule::ContentLength)),
    ("length blank", "Content-Length:  ", no(Rule::ContentLength)),
    ("length hexadecimal", "Content-Length: 0x5", no(Rule::ContentLength)),
    ("length with letters", "Content-Length: 5a", no(Rule::ContentLength)),
    ("length with underscore", "Content-Length: 1_0", no(Rule::ContentLength)),
    ("length with fraction", "Content-Length: 5.0", no(Rule::ContentLength)),
    ("length with exponent", "Content-Length: 1e1", no(Rule::ContentLength)),
    ("length with a space inside", "Content-Length: 1 0", no(Rule::ContentLength)),
    ("length in quotes", "Content-Length: \"5\"", no(Rule::ContentLength)),
    ("length in other digits", "Content-Length: ٥", no(Rule::ContentLength)),
    ("length list, same", "Content-Length: 5, 5", no(Rule::ContentLength)),
    ("length list, differing", "Content-Length: 5, 6", no(Rule::ContentLength)),
    ("length list, trailing comma", "Content-Length: 5,", no(Rule::ContentLength)),
    ("length with vertical tab", "Content-Length:\x0b5", no(Rule::ControlByte)),
    ("length, space before colon", "Content-Length : 5", no(Rule::SpaceInFieldName)),
    ("lengths, differing", "Content-Length: 5\r\nContent-Length: 6", no(Rule::SeveralContentLengths)),
    ("lengths, identical", "Content-Length: 5\r\nContent-Length: 5", no(Rule::SeveralContentLengths)),
    ("lengths, both 0", "Content-Length: 0\r\nX: a\r\ncontent-length: 0", no(Rule::SeveralContentLengths)),
    ("length with underscore in its name", "Content_Length: 5", no(Rule::DisguisedFieldName)),
    ("14 bytes that are no length", "Content-Lengsh: 5", Passes(1)),
    ("CL.TE", "Content-Length: 5\r\nTransfer-Encoding: chunked", no(Rule::LengthAndTransferEncoding)),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5", no(Rule::LengthAndTransferEncoding)),
    ("CL 0 and TE", "Content-Length: 0\r\nX: y\r\nTransfer-Encoding: chunked", no(Rule::LengthAndTransferEncoding)),
    ("CL and TE identity", "Content-Length: 5\r\nTransfer-Encoding: identity", no(Rule::LengthAndTransferEncoding)),
    ("TE", "Transfer-Encoding: chunked", Waits(1)),
    ("TE, other case", "tRANSFER-eNCODING: CHUNKed", Waits(1)),
    ("TE after a tab", "Transfer-Encoding:\tchunked", Waits(1)),
    ("TE space before colon", "Transfer-Encoding : chunked", no(Rule::SpaceInFieldName)),
    ("TE tab before colon", "Transfer-Encoding\t: chunked", no(Rule::SpaceInFieldName)),
    ("TE xchunked", "Transfer-Encoding: xchunked", no(Rule::TransferEncoding)),
    ("TE chunkedx", "Transfer-Encoding: chunkedx", no(Rule::TransferEncoding)),
    ("TE vertical tab", "Transfer-Encoding:\x0bchunked", no(Rule::ControlByte)),
    ("TE NUL after chunked", "Transfer-Encoding: chunked\0", no(Rule::Nul)),
    ("TE no-break space", "Transfer-Encoding:\u{a0}chunked", no(Rule::TransferEncoding)),
    ("TE long s in UTF-8", "Tran\u{17f}fer-Encoding: chunked", no(Rule::FieldName)),
    ("TE Kelvin sign", "Transfer-Encoding: chun\u{212a}ed", no(Rule::TransferEncoding)),
    ("TE empty", "Transfer-Encoding:", no(Rule::TransferEncoding)),
    ("TE blank", "Transfer-Encoding: \t", no(Rule::TransferEncoding)),
    ("TE identity", "Transfer-Encoding: identity", no(Rule::TransferEncoding)),
    ("TE chunked, identity", "Transfer-Encoding: chunked, identity", no(Rule::TransferEncoding)),
    ("TE identity, chunked", "Transfer-Encoding: identity, chunked", no(Rule::TransferEncoding)),
    ("TE gzip, chunked", "Transfer-Encoding: gzip, chunked", no(Rule::TransferEncoding)),
    ("TE chunked, chunked", "Transfer-Encoding: chunked, chunked", no(Rule::TransferEncoding)),
    ("TE list with empty elements", "Transfer-Encoding: ,chunked", no(Rule::TransferEncoding)),
    ("TE trailing comma", "Transfer-Encoding: chunked,", no(Rule::TransferEncoding)),
    ("TE quoted", "Transfer-Encoding: \"chunked\"", no(Rule::TransferEncoding)),
    ("TE single quotes", "Transfer-Encoding: 'chunked'", no(Rule::TransferEncoding)),
    ("TE with parameter", "Transfer-Encoding: chunked;q=1", no(Rule::TransferEncoding)),
    ("TE second colon", "Transfer-Encoding:: chunked", no(Rule::TransferEncoding)),
    ("TE folded", "Transfer-Encoding:\r\n chunked", no(Rule::TransferEncoding)),
    ("TE folded after chunked", "Transfer-Encoding: chunked\r\n , identity", no(Rule::ObsFold)),
    ("TE with a space before its name", " Transfer-Encoding: chunked", no(Rule::ObsFold)),
    ("TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", no(Rule::SeveralTransferEncodings)),
    ("TE chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-encoding: identity", no(Rule::SeveralTransferEncodings)),
    ("TE cow and chunked", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", no(Rule::TransferEncoding)),
    ("TE hidden behind bare LF", "X: a\nTransfer-Encoding: chunked", no(Rule::BareLf)),
    ("TE with underscore in its name", "Transfer_Encoding: chunked", no(Rule::DisguisedFieldName)),
    ("upgrade", "Connection: upgrade\r\nUpgrade: websocket", Holds(1)),
    ("upgrade, other case", "UPGRADE: x", Holds(1)),
    ("upgrade with a body to come", "Upgrade: x\r\nContent-Length: 1", Waits(1)),
];

/// Whole inputs.
#[rustfmt::skip]
const WHOLE: &[Row] = &[
    ("nothing", "", Passes(0)),
    ("HTTP/1.1 without host", "GET / HTTP/1.1\r\n\r\n", no(Rule::MissingHost)),
    ("HTTP/1.1 without host, absolute form", "GET http://a/ HTTP/1.1\r\nX: a\r\n\r\n", no(Rule::MissingHost)),
    ("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", Passes(1)),
    ("HTTP/1.0 without host, absolute form", "GET http://a/ HTTP/1.0\r\n\r\n", Passes(1)),
    ("HTTP/1.0 with two hosts", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", no(Rule::SeveralHosts)),
    ("HTTP/1.0 with TE", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", no(Rule::TransferEncodingInHttp10)),
    ("HTTP/1.0 with TE and CL", "POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", no(Rule::TransferEncodingInHttp10)),
    ("HTTP/1.0 with length", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", Passes(1)),
    ("HTTP/1.0 upgrade is ignored", "GET / HTTP/1.0\r\nUpgrade: x\r\n\r\n", Passes(1)),
    ("host in absolute form, IPv6", "GET http://[::1]/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Passes(1)),
    ("contradiction after an empty line", "\r\nGET http://ab/ HTTP/1.1\r\nHost: b\r\n\r\n", no(Rule::HostContradiction)),
    ("agreement after an empty line", "\r\nGET http://ab/ HTTP/1.1\r\nHost: ab\r\n\r\n", Passes(1)),
    ("CONNECT, host without port", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Holds(1)),
    ("CONNECT, host with another port", "CONNECT a:443 HTTP/1.1\r\nHost: a:80\r\n\r\n", no(Rule::HostContradiction)),
    ("CONNECT without host in HTTP/1.1", "CONNECT a:443 HTTP/1.1\r\n\r\n", no(Rule::MissingHost)),
    ("CONNECT with length 0", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Holds(1)),
    ("CONNECT with length", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", no(Rule::ConnectBody)),
    ("CONNECT with TE", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", no(Rule::ConnectBody)),
    ("one empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Passes(1)),
    ("one empty line between", "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Passes(2)),
    ("two empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", no(Rule::EmptyLines)),
    ("LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", no(Rule::BareLf)),
    ("CR before", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", no(Rule::BareCr)),
    ("LF after request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", no(Rule::BareLf)),
    ("LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", no(Rule::BareLf)),
    ("LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", no(Rule::BareLf)),
    ("CR LF LF at the end", "GET / HTTP/1.1\r\nHost: a\n\r\n", no(Rule::BareLf)),
    ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", no(Rule::BareCr)),
    ("space before first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", no(Rule::LeadingWhitespace)),
    ("tab before first field", "GET / HTTP/1.1\r\n\tX: a\r\nHost: a\r\n\r\n", no(Rule::LeadingWhitespace)),
    ("UTF-8 byte order mark", "\u{feff}GET / HTTP/1.1\r\nHost: a\r\n\r\n", no(Rule::Method)),
    ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", no(Rule::Version)),
    ("an answer", "HTTP/1.1 200 OK\r\n\r\n", no(Rule::Method)),
    ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n", no(Rule::RequestLine)),
    ("unfinished request line", "GET / HT", Waits(0)),
    ("unfinished fields", "GET / HTTP/1.1\r\nHost: a\r\n", Waits(0)),
    ("unfinished end", "GET / HTTP/1.1\r\nHost: a\r\n\r", Waits(0)),
    ("bad line in an unfinished head", "GET / HTTP/1.1\r\nHost : a\r\n", no(Rule::SpaceInFieldName)),
    ("three in a row", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n", Passes(3)),
    ("second is refused", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", Refuses(1, Rule::MissingHost)),
    ("second waits", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2", Waits(1)),
    ("length body, then a request", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\0\n\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Passes(2)),
    ("length body is short", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcd", Waits(1)),
    ("length body is long", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nab\r\n", Refuses(1, Rule::RequestLine)),
    ("GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", Passes(1)),
    ("upgrade and its body", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab", Holds(1)),
];

/// At the bounds and one beyond.
fn bounds() -> Vec<Case> {
    let of_bytes = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        let filler = "x".repeat(bytes - frame.len());
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n")
    };
    let of_fields = |fields: usize| {
        let others: String = (1..fields).map(|n| format!("X{n}: a\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{others}\r\n")
    };
    let endless = "x".repeat(70_000);
    let too_large = no(Rule::SectionTooLarge);
    vec![
        Case::new("64 KiB of head", of_bytes(65_536), Passes(1)),
        Case::new("64 KiB of head and one byte", of_bytes(65_537), too_large),
        Case::new("64 KiB of head and two bytes", of_bytes(65_538), too_large),
        Case::new(
            "64 KiB of head and three bytes",
            of_bytes(65_539),
            too_large,
        ),
        Case::new("64 KiB of line", format!("GET /{endless}"), too_large),
        Case::new("unfinished at the bound", &endless[..65_536], too_large),
        Case::new("unfinished below the bound", &endless[..65_535], Waits(0)),
        Case::new(
            "64 KiB of name",
            format!("GET / HTTP/1.1\r\n{endless}"),
            too_large,
        ),
        Case::new("100 fields", of_fields(100), Passes(1)),
        Case::new("101 fields", of_fields(101), no(Rule::TooManyFields)),
    ]
}
