//! The RFC's own examples, what is refused, and that the two ends agree.

use proptest::prelude::*;

use super::*;

/// Name and value, as they were before.
fn told(field: &Field) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (name, value) = match field {
        Field::Header(name, value) => (name.as_str(), text(value.as_bytes())),
        Field::Method(method) => (":method", method.to_string()),
        Field::Scheme(scheme) => (":scheme", scheme.to_string()),
        Field::Authority(authority) => (":authority", authority.to_string()),
        Field::Path(path) => (":path", path.to_string()),
        Field::Protocol(protocol) => (":protocol", text(protocol.as_bytes())),
        Field::Status(status) => (":status", status.as_str().to_owned()),
        Field::Malformed => ("malformed", String::new()),
    };
    (name.to_owned(), value)
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Undecodable> {
    let mut fields = Vec::new();
    decoder.decode(block, |field, _| fields.push(told(field)))?;
    Ok(fields)
}

fn encoded(encoder: &mut Encoder, fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for (name, value) in fields {
        encoder.field(&mut block, name, value.as_bytes(), false);
    }
    block
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hex") as u8;
    hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
}

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// RFC 7541, C.3 and C.4: three requests on one connection, plain and coded.
#[test]
fn the_requests_of_the_rfc_are_read() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let www = (":authority", "www.example.com");
    let meant = [
        fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), www]),
        fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            www,
            ("cache-control", "no-cache"),
        ]),
        fields(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            www,
            ("custom-key", "custom-value"),
        ]),
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        for (block, meant) in blocks.iter().zip(&meant) {
            assert_eq!(decoded(&mut decoder, &bytes(block)).as_ref(), Ok(meant));
        }
    }
}

/// RFC 7541, C.5: answers, with a table of 256 bytes that has to let go of fields.
#[test]
fn what_the_table_has_no_room_for_leaves_it() {
    let mut decoder = Decoder::default();
    let blocks = [
        "3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 \
         2e63 6f6d",
        "4803 3330 37c1 c0bf",
    ];
    let at = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let to = ("location", "https://www.example.com");
    let private = ("cache-control", "private");
    let first = fields(&[(":status", "302"), private, at, to]);
    assert_eq!(decoded(&mut decoder, &bytes(blocks[0])), Ok(first));
    let second = fields(&[(":status", "307"), private, at, to]);
    assert_eq!(decoded(&mut decoder, &bytes(blocks[1])), Ok(second));
    // The 302 made room.
    assert!(decoded(&mut decoder, &[0x80 | 65]).is_ok());
    assert!(decoded(&mut decoder, &[0x80 | 66]).is_err());
}

#[test]
fn what_would_part_the_tables_ends_the_connection() {
    for block in [
        "80",            // index 0
        "be",            // an empty table
        "ff80808080 01", // a number without end
        "3fe2ff7f",      // a table larger than ours
        "82 20",         // a size after a field
        "41 0f 77",      // cut short
        "40",            // no name
        "41 81 1c",      // not coded so
    ] {
        assert!(decoded(&mut Decoder::default(), &bytes(block)).is_err(), "{block}");
    }
    let mut decoder = Decoder::default();
    assert_eq!(decoded(&mut decoder, &bytes("20 3f e1 1f 82")), Ok(fields(&[(":method", "GET")])));
}

#[test]
fn what_is_no_field_is_malformed_and_parts_no_tables() {
    for (name, value) in [
        ("Upper", "x"),
        ("a b", "x"),
        ("", "x"),
        (":unknown", "x"),
        ("x", "a\nb"),
        ("x", " a"),
        ("x", "a\t"),
        (":path", ""),
        (":status", "2000"),
        (":authority", "a b"),
        (":method", "G T"),
    ] {
        let mut block = vec![0x40, name.len() as u8];
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
        block.extend([0xbe, 0x82]);
        let malformed = ("malformed", "");
        let meant = fields(&[malformed, malformed, (":method", "GET")]);
        assert_eq!(decoded(&mut Decoder::default(), &block), Ok(meant), "{name}: {value:?}");
    }
}

#[test]
fn what_comes_again_is_a_byte_and_what_is_ever_new_pushes_nothing_out() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut sizes = Vec::new();
    for id in 0..1000 {
        let id = format!("{id:032x}");
        let all = fields(&[(":path", "/a/path"), ("x-request-id", &id), ("accept", "*/*")]);
        let block = encoded(&mut encoder, &all);
        sizes.push(block.len());
        assert_eq!(decoded(&mut decoder, &block), Ok(all));
    }
    // A byte, two for the name and 33 for the id, a byte.
    assert_eq!(sizes[2..], [37; 998]);
    assert_eq!(decoder.decode(&[0xc0], |_, _| {}), Ok(()), "three fields are kept");
    assert!(decoder.decode(&[0xc1], |_, _| {}).is_err(), "and no fourth");
}

#[test]
fn secrets_are_in_no_table() {
    let mut encoder = Encoder::default();
    let mut write = |name: &str, value: &str, sensitive| {
        let mut block = Vec::new();
        encoder.field(&mut block, name, value.as_bytes(), sensitive);
        block[0] & 0xf0
    };
    for _ in 0..3 {
        assert_eq!(write("authorization", "short", false), 0x10);
        assert_eq!(write("x-key", "a value of some length", true), 0x10);
    }
    let mut decoder = Decoder::default();
    let mut is_sensitive = false;
    let taken = decoder.decode(b"\x10\x01x\x01y", |field, _| {
        is_sensitive = matches!(field, Field::Header(_, value) if value.is_sensitive());
    });
    assert!(taken.is_ok() && is_sensitive, "and so whoever passes it on knows");
}

#[test]
fn the_peer_may_make_the_table_smaller_and_larger() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let all = fields(&[("x-one", "1"), ("x-two", "2"), (":authority", "a.example:80")]);
    for limit in [4096, 100, 0, 40, 4096, 1 << 20, 64] {
        encoder.set_limit(limit);
        for _ in 0..3 {
            let block = encoded(&mut encoder, &all);
            assert_eq!(decoded(&mut decoder, &block), Ok(all.clone()), "{limit}");
            assert!(encoder.field_count() * OVERHEAD <= limit);
        }
    }
}

proptest! {
    #[test]
    fn the_two_ends_agree(
        blocks in prop::collection::vec(
            prop::collection::vec(("[a-e]{1,3}", "[ -~]{0,80}"), 0..8),
            1..60,
        ),
        limits in prop::collection::vec(prop::option::of(0usize..5000), 60),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (block, limit) in blocks.iter().zip(limits) {
            if let Some(limit) = limit {
                encoder.set_limit(limit);
            }
            let all: Vec<(String, String)> = block
                .iter()
                .map(|(name, value)| (name.clone(), value.trim_matches(' ').to_owned()))
                .collect();
            let block = encoded(&mut encoder, &all);
            prop_assert_eq!(decoded(&mut decoder, &block), Ok(all));
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let mut decoder = Decoder::default();
        for block in &blocks {
            let _ = decoder.decode(block, |_, _| {});
        }
    }
}

/// Both ends must drop a field of the table at the same moment.
#[test]
fn a_field_is_as_large_as_its_own_name_whatever_that_is() {
    let mut decoder = Decoder::default();
    for name in [":protocol", "Bad Name", "", "x-some-longer-header-name"] {
        let mut block = vec![0x40, name.len() as u8];
        block.extend(name.bytes());
        block.extend(*b"\x01a");
        // The same name again, by its index in the table.
        block.extend(*b"\x7e\x02bc");
        let mut sizes = Vec::new();
        decoder.decode(&block, |_, size| sizes.push(size)).expect("sound");
        assert_eq!(sizes, [name.len() + 33, name.len() + 34], "{name}");
    }
}
