//! Cases about chunked bodies: sizes, extensions, endings, trailers, bounds.

use super::super::Rule;
use super::cases::Case;
use super::cases::Outcome::{self, Holds, Passes, Refuses, Waits};

type Row = (&'static str, &'static str, Outcome);

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";

const fn no(rule: Rule) -> Outcome {
    Refuses(1, rule)
}

pub(super) fn cases() -> Vec<Case> {
    let bodies = BODIES
        .iter()
        .map(|&(name, body, outcome)| Case::new(name, format!("{HEAD}\r\n{body}"), outcome));
    let trailers = TRAILERS.iter().map(|&(name, trailers, outcome)| {
        Case::new(name, format!("{HEAD}\r\n1\r\na\r\n0\r\n{trailers}\r\n\r\n"), outcome)
    });
    bodies.chain(trailers).chain(bounds()).collect()
}

#[rustfmt::skip]
const BODIES: &[Row] = &[
    ("no chunks", "0\r\n\r\n", Passes(1)),
    ("one chunk", "5\r\nhello\r\n0\r\n\r\n", Passes(1)),
    ("two chunks", "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", Passes(1)),
    ("data that looks like an end", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", Passes(1)),
    ("size with leading zeros", "0005\r\nhello\r\n0000\r\n\r\n", Passes(1)),
    ("size of 16 digits", "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", Passes(1)),
    ("then a request", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Passes(2)),
    ("then an empty line and a request", "0\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Passes(2)),
    ("then something else", "0\r\n\r\nX\r\n", no(Rule::RequestLine)),
    ("chunk is short", "5\r\nhell", Waits(1)),
    ("data without end", "5\r\nhello", Waits(1)),
    ("half an end", "5\r\nhello\r", Waits(1)),
    ("half a size", "5", Waits(1)),
    ("half a size line", "5\r", Waits(1)),
    ("half an extension", "5;a=\"b\r", no(Rule::ChunkExtension)),
    ("missing final CRLF", "5\r\nhello\r\n0\r\n", Waits(1)),
    ("half a final CRLF", "0\r\n\r", Waits(1)),
    ("missing final CRLF, then a request", "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", no(Rule::SpaceInFieldName)),
    ("largest size", "7fffffffffffffff\r\n", Waits(1)),
    ("size above i64", "8000000000000000\r\n", no(Rule::ChunkSize)),
    ("size -1", "ffffffffffffffff\r\n", no(Rule::ChunkSize)),
    ("size of 17 digits", "fffffffffffffffff\r\n", no(Rule::ChunkSize)),
    ("size of 17 digits, small", "00000000000000005\r\nhello\r\n", no(Rule::ChunkSize)),
    ("size 0x5", "0x5\r\nhello\r\n0\r\n\r\n", no(Rule::ChunkSize)),
    ("size +5", "+5\r\nhello\r\n0\r\n\r\n", no(Rule::ChunkSize)),
    ("size -5", "-5\r\nhello\r\n0\r\n\r\n", no(Rule::ChunkSize)),
    ("size with underscore", "1_0\r\n", no(Rule::ChunkSize)),
    ("size with a letter", "5g\r\nhello\r\n", no(Rule::ChunkSize)),
    ("size with comma", "5,5\r\nhello\r\n", no(Rule::ChunkSize)),
    ("size in quotes", "\"5\"\r\nhello\r\n", no(Rule::ChunkSize)),
    ("no size", "\r\nhello\r\n", no(Rule::ChunkSize)),
    ("extension without size", ";a\r\nhello\r\n", no(Rule::ChunkSize)),
    ("space before size", " 5\r\nhello\r\n", no(Rule::ChunkSize)),
    ("tab before size", "\t5\r\nhello\r\n", no(Rule::ChunkSize)),
    ("space after size", "5 \r\nhello\r\n", no(Rule::ChunkSize)),
    ("tab after size", "5\t\r\nhello\r\n", no(Rule::ChunkSize)),
    ("NUL after size", "5\0\r\nhello\r\n", no(Rule::ChunkSize)),
    ("raw body", "hello", no(Rule::ChunkSize)),
    ("LF after size", "5\nhello\r\n", no(Rule::BareLf)),
    ("LF after last size", "0\n\r\n", no(Rule::BareLf)),
    ("LF before size", "\n5\r\nhello\r\n", no(Rule::BareLf)),
    ("CR after size", "5\rhello\r\n", no(Rule::BareCr)),
    ("CR CR LF after size", "5\r\r\nhello\r\n", no(Rule::BareCr)),
    ("LF after data", "5\r\nhello\n0\r\n\r\n", no(Rule::ChunkEnd)),
    ("CR after data", "5\r\nhello\r0\r\n\r\n", no(Rule::ChunkEnd)),
    ("no CRLF after data", "5\r\nhello0\r\n\r\n", no(Rule::ChunkEnd)),
    ("chunk is long", "5\r\nhello!\r\n0\r\n\r\n", no(Rule::ChunkEnd)),
    ("two bytes in place of CRLF", "5\r\nhelloxx0\r\n\r\n", no(Rule::ChunkEnd)),
    ("LF in place of the last line", "0\r\n\n", no(Rule::BareLf)),
    ("CR in place of the last line", "0\r\n\rX\r\n", no(Rule::BareCr)),
    ("extension", "5;a\r\nhello\r\n0;b\r\n\r\n", Passes(1)),
    ("extension with value", "5;a=b;c\r\nhello\r\n0\r\n\r\n", Passes(1)),
    ("extension with quoted value", "5;a=\"b;\\\" \tc\";d=\"\"\r\nhello\r\n0\r\n\r\n", Passes(1)),
    ("extension, quote left open", "5;a=\"\r\nhello\r\n0\r\n\r\n", no(Rule::ChunkExtension)),
    ("extension, quote left open, escaped", "5;a=\"\\\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, empty", "5;\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, two semicolons", "5;;a\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension without name", "5;=b\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension without value", "5;a=\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension with two values", "5;a=b=c\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, text after a quote", "5;a=\"b\"c\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, space inside", "5; a\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, tab inside", "5;a\t=b\r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension, space at the end", "5;a \r\nhello\r\n", no(Rule::ChunkExtension)),
    ("extension with LF", "5;a\nhello\r\n", no(Rule::BareLf)),
    ("extension with quoted LF", "5;a=\"\n\"\r\nhello\r\n", no(Rule::BareLf)),
    ("extension with CR", "5;a\rb\r\nhello\r\n", no(Rule::BareCr)),
    ("extension with NUL", "5;a\0\r\nhello\r\n", no(Rule::Nul)),
    ("extension with control character", "5;a=\"\x01\"\r\nhello\r\n", no(Rule::ControlByte)),
    ("extension with UTF-8 name", "5;é\r\nhello\r\n", no(Rule::ChunkExtension)),
];

/// Trailers after a chunk and the last chunk's line.
#[rustfmt::skip]
const TRAILERS: &[Row] = &[
    ("trailer", "X-Sum: 1", Passes(1)),
    ("two trailers", "X-Sum: 1\r\nGrpc-Status: 0", Passes(1)),
    ("trailer with length", "Content-Length: 5", no(Rule::TrailerField)),
    ("trailer with TE", "X: a\r\ntransfer-encoding: chunked", no(Rule::TrailerField)),
    ("trailer with host", "HOST: b", no(Rule::TrailerField)),
    ("trailer with trailer", "Trailer: x", no(Rule::TrailerField)),
    ("trailer with upgrade", "Upgrade: x", no(Rule::TrailerField)),
    ("trailer with connection", "Connection: close", no(Rule::TrailerField)),
    ("trailer with authorization", "Authorization: Basic x", no(Rule::TrailerField)),
    ("trailer with content type", "Content-Type: text/html", no(Rule::TrailerField)),
    ("trailer with space before colon", "X : a", no(Rule::SpaceInFieldName)),
    ("trailer with space before", " X: a", no(Rule::LeadingWhitespace)),
    ("trailer folded", "X: a\r\n b", no(Rule::ObsFold)),
    ("trailer without name", ": a", no(Rule::EmptyFieldName)),
    ("trailer without colon", "X", no(Rule::MissingColon)),
    ("trailer with bad name", "X[]: a", no(Rule::FieldName)),
    ("trailer with NUL", "X: \0", no(Rule::Nul)),
    ("trailer with CR", "X: a\rb", no(Rule::BareCr)),
    ("trailer with LF", "X: a\nb", no(Rule::BareLf)),
];

/// At the bounds and one beyond.
fn bounds() -> Vec<Case> {
    let line = |bytes: usize| {
        let name = "x".repeat(bytes - "5;\r\n".len());
        format!("{HEAD}\r\n5;{name}\r\nhello\r\n0\r\n\r\n")
    };
    let endless = "x".repeat(70_000);
    let extensions = |bytes: usize| {
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(127));
        let rest = format!("1;{}\r\na\r\n", "x".repeat(bytes % 128 - 1));
        format!("{HEAD}\r\n{}{rest}0\r\n\r\n", chunk.repeat(bytes / 128))
    };
    let trailers = |fields: usize| {
        let fields: String = (0..fields).map(|n| format!("X{n}: a\r\n")).collect();
        format!("{HEAD}\r\n0\r\n{fields}\r\n")
    };
    let trailer = |bytes: usize| {
        let value = "x".repeat(bytes - "X: \r\n\r\n".len());
        format!("{HEAD}\r\n0\r\nX: {value}\r\n\r\n")
    };
    let upgrade = format!("{HEAD}Upgrade: x\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n");
    vec![
        Case::new("upgrade and its chunked body", upgrade, Holds(1)),
        Case::new("chunk line of 256 bytes", line(256), Passes(1)),
        Case::new("chunk line of 257 bytes", line(257), no(Rule::ChunkLineTooLong)),
        Case::new(
            "endless chunk line",
            format!("{HEAD}\r\n5;{endless}"),
            no(Rule::ChunkLineTooLong),
        ),
        Case::new("extensions of 16 KiB less one", extensions(16_383), Passes(1)),
        Case::new("extensions of more", extensions(16_385), no(Rule::ChunkExtensionsTooLong)),
        Case::new("100 trailers", trailers(100), Passes(1)),
        Case::new("101 trailers", trailers(101), no(Rule::TooManyFields)),
        Case::new("64 KiB of trailers", trailer(65_536), Passes(1)),
        Case::new("64 KiB of trailers and one byte", trailer(65_537), no(Rule::SectionTooLarge)),
        Case::new(
            "endless trailer",
            format!("{HEAD}\r\n0\r\n{endless}"),
            no(Rule::SectionTooLarge),
        ),
    ]
}
