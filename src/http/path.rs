//! One way to write a path: what rules are compared with, and what the app then gets.
//!
//! Normalised (RFC 3986, 6.2.2): unreserved characters stand for themselves, escapes have capital
//! letters, dot segments are resolved, then repeated slashes are one. `%2F`, `%5C`, `\` and `;` stay,
//! because servers differ in what they make of them; [`other_readings`] says what they may make of
//! those and of other escapes.
//! Normalising twice is normalising once. A `%` that begins no escape is refused: decoding around it
//! could make one.

use std::borrow::Cow;

use super::percent;

/// A `%` begins no escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path has a `%` that is not followed by two hexadecimal digits")]
pub struct BadEscape;

/// The path, which begins with a slash, normalised. Borrowed where it was so already.
///
/// # Errors
/// [`BadEscape`].
pub fn normal(path: &str) -> Result<Cow<'_, str>, BadEscape> {
    if is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = String::with_capacity(path.len());
    for (byte, was_escaped) in percent::bytes(path.as_bytes()) {
        match (byte, was_escaped) {
            (b'%', false) => return Err(BadEscape),
            (_, false) if byte.is_ascii() => decoded.push(char::from(byte)),
            (_, true) if is_unreserved(byte) => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    decoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
    }
    Ok(Cow::Owned(tidy(&decoded)))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Most paths are. Bytes beyond ASCII are written as escapes.
fn is_normal(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let rest = &path[at + 1..];
        match byte {
            b'/' => {
                let segment =
                    rest.strip_prefix(b".").map(|rest| rest.strip_prefix(b".").unwrap_or(rest));
                let is_dots = segment.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
                if is_dots || rest.first() == Some(&b'/') {
                    return false;
                }
            }
            b'%' => {
                let [high, low, ..] = rest else { return false };
                let (Some(high), Some(low)) = (capital(*high), capital(*low)) else { return false };
                if is_unreserved(high << 4 | low) {
                    return false;
                }
                at += 2;
            }
            _ if !byte.is_ascii() => return false,
            _ => {}
        }
        at += 1;
    }
    true
}

fn capital(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Dot segments resolved (RFC 3986, 5.2.4), then repeated slashes made one.
fn tidy(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = true;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            // Empty ones too: each is a step that `..` goes back.
            _ => kept.push(segment),
        }
    }
    let mut tidied = String::with_capacity(path.len());
    for segment in kept.iter().filter(|segment| !segment.is_empty()) {
        tidied.push('/');
        tidied.push_str(segment);
    }
    if is_folder || tidied.is_empty() {
        tidied.push('/');
    }
    tidied
}

/// What servers may make of a normalised path beside what it says, each once: escapes as the
/// characters that they stand for ([`plain`]); `%2F`, `%5C` and `\` as slashes; what follows `;` as no
/// part of its segment, before or after escapes are read; dot segments resolved in what comes of
/// that, or left as they are. Empty for most.
pub fn other_readings(normal: &str) -> Vec<String> {
    if !is_doubtful(normal) {
        return Vec::new();
    }
    let mut sliced = vec![normal.to_owned()];
    if normal.contains("%2F") {
        sliced.push(normal.replace("%2F", "/"));
    }
    if normal.contains("%5C") || normal.contains('\\') {
        let backward = |path: &String| path.replace("%5C", "/").replace('\\', "/");
        sliced.extend(sliced.iter().map(backward).collect::<Vec<_>>());
    }
    let mut readings = Vec::new();
    let mut add = |reading: String| {
        if reading != normal && !readings.contains(&reading) {
            readings.push(reading);
        }
    };
    for early in sliced.into_iter().flat_map(with_and_without_parameters) {
        for late in with_and_without_parameters(plain(&early).into_owned()) {
            add(tidy(&late));
            add(late);
        }
    }
    readings
}

/// Whether there is anything in a normalised path that a server may take otherwise.
fn is_doubtful(normal: &str) -> bool {
    let is_plain = |(byte, was_escaped): (u8, bool)| match byte {
        b';' | b'\\' => false,
        b'%' => true,
        _ => !was_escaped || !is_visible(byte),
    };
    !percent::bytes(normal.as_bytes()).all(is_plain)
}

fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
}

/// The text with its escapes read, but for those of a slash, a backslash and `%`, which would make
/// another path, and of what is no visible ASCII.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        read.push_str(before);
        let byte = percent::bytes(&rest.as_bytes()[before.len()..]).next();
        match byte {
            Some((byte, true)) if is_visible(byte) && !matches!(byte, b'/' | b'\\' | b'%') => {
                read.push(char::from(byte));
                rest = &after[2..];
            }
            _ => {
                read.push('%');
                rest = after;
            }
        }
    }
    read.push_str(rest);
    Cow::Owned(read)
}

fn with_and_without_parameters(path: String) -> Vec<String> {
    if !path.contains(';') {
        return vec![path];
    }
    let own = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    let cut = path.split('/').map(own).collect::<Vec<_>>().join("/");
    vec![cut, path]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_written_in_one_way() {
        let rows = [
            ("/", "/"),
            ("/api/users", "/api/users"),
            ("//", "/"),
            ("/a//b///c", "/a/b/c"),
            ("/a/", "/a/"),
            ("/a//", "/a/"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/b/../../c", "/c"),
            ("/a//../b", "/a/b"),
            ("/%2e%2e/admin", "/admin"),
            ("/a/%2E%2e/admin", "/admin"),
            ("/a/.%2e/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/%7Euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/a%3bb", "/a%3Bb"),
            ("/a;b=c", "/a;b=c"),
            ("/a%20b", "/a%20b"),
            ("/a%2541", "/a%2541"),
            ("/...", "/..."),
            ("/.a", "/.a"),
            ("/a..", "/a.."),
            ("/..;/a", "/..;/a"),
            ("/a\\b", "/a\\b"),
            ("/%c3%bc", "/%C3%BC"),
        ];
        for (path, expected) in rows {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
        for path in ["/%", "/%2", "/%zz", "/%%34%31", "/a%2g", "/%+1"] {
            assert_eq!(normal(path), Err(BadEscape), "{path}");
        }
        assert!(matches!(normal("/api/a%2Fb"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn servers_may_read_some_paths_otherwise() {
        let rows: [(&str, &[&str]); 13] = [
            ("/a/b", &[]),
            ("/a%20b", &[]),
            ("/a%2Fb", &["/a/b"]),
            ("/x/..%2Fadmin", &["/admin", "/x/../admin"]),
            ("/x%2F..%2Fadmin", &["/admin", "/x/../admin"]),
            ("/a%2F%2Fb", &["/a/b", "/a//b"]),
            ("/a%5Cb", &["/a/b"]),
            ("/a\\b", &["/a/b"]),
            ("/admin;x=1/y", &["/admin/y"]),
            ("/x/..;/admin", &["/admin", "/x/../admin"]),
            ("/%40me%3Ax", &["/@me:x"]),
            ("/a%3Bb", &["/a", "/a;b"]),
            ("/a%2Fb;c", &["/a%2Fb", "/a/b", "/a/b;c"]),
        ];
        for (path, expected) in rows {
            let mut readings = other_readings(path);
            readings.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(readings, expected, "{path}");
        }
    }

    #[test]
    fn escapes_are_read_but_for_those_that_make_another_path() {
        for (written, read) in [
            ("/a", "/a"),
            ("/%40%3A%21", "/@:!"),
            ("/%2F%5C%25", "/%2F%5C%25"),
            ("/%2541", "/%2541"),
            ("/%20%7F%C3%BC", "/%20%7F%C3%BC"),
            ("/%2A/%7Bid%7D", "/*/{id}"),
        ] {
            assert_eq!(plain(written), read, "{written}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "(/|\\.|\\.\\.|%2[EeFf]|%[0-9a-fA-F]{2}|;|[a-z%]){0,24}") {
            if let Ok(once) = normal(&format!("/{path}")) {
                let twice = normal(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
                prop_assert!(matches!(twice, Ok(Cow::Borrowed(_))));
                prop_assert!(once.starts_with('/') && !once.contains("//"));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                let others = other_readings(&once);
                for reading in &others {
                    prop_assert!(reading.starts_with('/') && *reading != once, "{}", reading);
                    // Those that leave dot segments as they are stand beside one that does not.
                    prop_assert!(others.contains(&tidy(reading)) || tidy(reading) == once);
                }
            }
        }
    }
}
