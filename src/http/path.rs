//! One way to write a path: what rules are compared with, and what the app then gets.
//!
//! Normalised (RFC 3986, 6.2.2): unreserved characters stand for themselves, escapes have capital
//! letters, dot segments are resolved, then repeated slashes are one. `%2F`, `%5C`, `\` and `;` stay,
//! because servers differ in what they make of them; [`other_readings`] says what they may make.
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

/// What servers may make of a normalised path beside what it says: `%2F`, `%5C` and `\` as slashes,
/// what follows `;` as no part of its segment, and both. Empty for most.
pub fn other_readings(normal: &str) -> Vec<String> {
    let has_slashes = normal.contains("%2F") || normal.contains("%5C") || normal.contains('\\');
    let has_parameters = normal.contains(';');
    let mut readings = Vec::new();
    if has_slashes {
        readings.push(tidy(&slashes(normal)));
    }
    if has_parameters {
        readings.push(tidy(&without_parameters(normal)));
    }
    if has_slashes && has_parameters {
        readings.push(tidy(&without_parameters(&slashes(normal))));
    }
    readings
}

fn slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/")
}

fn without_parameters(path: &str) -> String {
    let own = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    path.split('/').map(own).collect::<Vec<_>>().join("/")
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
        let rows: [(&str, &[&str]); 8] = [
            ("/a/b", &[]),
            ("/a%2Fb", &["/a/b"]),
            ("/x/..%2Fadmin", &["/admin"]),
            ("/a%5Cb", &["/a/b"]),
            ("/a\\b", &["/a/b"]),
            ("/admin;x=1/y", &["/admin/y"]),
            ("/x/..;/admin", &["/admin"]),
            ("/a%2Fb;c", &["/a/b;c", "/a%2Fb", "/a/b"]),
        ];
        for (path, expected) in rows {
            assert_eq!(other_readings(path), expected, "{path}");
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
                for reading in other_readings(&once) {
                    prop_assert!(reading.split('/').all(|segment| segment != ".."), "{}", reading);
                }
            }
        }
    }
}
