//! The pages that people look at: files built into the program, and the ones that both admin ports
//! share.
//!
//! A page is HTML without any script or style of its own, modules and style sheets; what it shows it
//! asks for as JSON. Nothing comes from elsewhere, and the policy that goes with each file lets
//! nothing else in, so that a name which a stranger chose stays a name. Files are asked for by name
//! alone, never by path. Callers: `admin` and `control`.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answers::{self, Answer};

/// Only what this port serves, nothing inline, no markup from text, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Where files are served; the page itself is `/`.
const FOLDER: &str = "/assets/";

/// A file as it is served.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    name: &'static str,
    text: &'static str,
    mark: u64,
}

impl Asset {
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, mark: mark(text.as_bytes()) }
    }

    /// By the ending of its name.
    fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}

/// What every page needs.
const SHARED: &[Asset] = &[
    Asset::new("style.css", include_str!("style.css")),
    Asset::new("dom.js", include_str!("dom.js")),
    Asset::new("parts.js", include_str!("parts.js")),
    Asset::new("poll.js", include_str!("poll.js")),
    Asset::new("theme.js", include_str!("theme.js")),
    Asset::new("words.js", include_str!("words.js")),
    Asset::new("icon.svg", include_str!("icon.svg")),
];

/// The file at `path`, of a port's `own` or of those that all have; `/` is `index.html`. `None`: the
/// path is no file's.
pub fn answer(own: &[Asset], path: &str, headers: &HeaderMap) -> Option<Answer> {
    let name = match path {
        "/" => "index.html",
        // Beside an answer that is no page of ours, a browser asks for it by this name.
        "/favicon.ico" => "icon.svg",
        _ => path.strip_prefix(FOLDER)?,
    };
    let found = own.iter().chain(SHARED).find(|asset| asset.name == name);
    Some(found.map_or_else(answers::unknown, |asset| served(asset, headers)))
}

/// A browser keeps the file, and asks each time whether it is still the same: another version of the
/// program may have taken the port.
fn served(asset: &Asset, headers: &HeaderMap) -> Answer {
    let tag = format!("\"{:016x}\"", asset.mark);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let is_known =
        known.is_some_and(|tags| tags.split(',').any(|each| each.trim().ends_with(&tag)));
    let (status, text) =
        if is_known { (StatusCode::NOT_MODIFIED, "") } else { (StatusCode::OK, asset.text) };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let lines: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, asset.kind()),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in lines {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// FNV-1a: tells versions of a file apart; nobody gains by finding two with the same.
const fn mark(bytes: &[u8]) -> u64 {
    let (mut mark, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        mark = (mark ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    mark
}

/// Whether the files of a page keep to the rules: for the tests of whoever has some.
///
/// Every file that one of them names is there, HTML has no script or style inside, and no file asks
/// for markup from text or for anything from elsewhere.
///
/// # Panics
/// Where they don't, with the line.
#[cfg(test)]
pub fn check(own: &[Asset]) {
    let names: Vec<&str> = own.iter().chain(SHARED).map(|asset| asset.name).collect();
    for asset in own.iter().chain(SHARED) {
        let lines = asset.text.lines().count();
        assert!(lines <= 400, "{}: {lines} lines are two files", asset.name);
        for line in asset.text.lines() {
            check_line(asset, line, &names);
        }
    }
}

#[cfg(test)]
fn check_line(asset: &Asset, line: &str, names: &[&str]) {
    let said = format!("{}: {line}", asset.name);
    for banned in
        ["innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write", "javascript:"]
    {
        assert!(!line.contains(banned), "{said}");
    }
    let own_name = line.contains("http://www.w3.org/2000/svg");
    let example = line.contains("http://127.0.0.1:15001/");
    assert!(own_name || example || !line.contains("://"), "{said}");
    if asset.name.ends_with(".html") {
        let inline = line.contains("<style") || line.contains(" style=") || line.contains(" on");
        assert!(!inline && (!line.contains("<script") || line.contains("></script>")), "{said}");
    }
    for start in ["from \"./", "import \"./", "\"/assets/"] {
        for rest in line.split(start).skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            assert!(names.contains(&name), "{said}: {name} is not there");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[Asset] = &[Asset::new("index.html", "<!doctype html>\n")];

    fn get(path: &str, known: Option<&str>) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(header::IF_NONE_MATCH, known.parse().expect("a value"));
        }
        answer(OWN, path, &headers)
    }

    #[test]
    fn each_file_is_what_its_name_says_and_lets_nothing_else_in() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/assets/style.css", "text/css; charset=utf-8"),
            ("/assets/dom.js", "text/javascript; charset=utf-8"),
            ("/assets/icon.svg", "image/svg+xml"),
            ("/favicon.ico", "image/svg+xml"),
        ] {
            let answer = get(path, None).expect("a file");
            assert_eq!(
                (answer.status(), &answer.headers()["content-type"]),
                (StatusCode::OK, &HeaderValue::from_static(kind))
            );
            let policy = answer.headers()["content-security-policy"].to_str().expect("text");
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let first = get("/assets/dom.js", None).expect("a file");
        let tag = first.headers()["etag"].to_str().expect("text").to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
            let again = get("/assets/dom.js", Some(&known)).expect("a file");
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        let other = get("/assets/style.css", Some(&tag)).expect("a file");
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn nothing_else_is_a_file() {
        for path in ["/assets/", "/assets/../mod.rs", "/assets/mod.rs", "/assets/%64om.js"] {
            assert_eq!(get(path, None).expect("below the folder").status(), StatusCode::NOT_FOUND);
        }
        assert!(get("/sessions", None).is_none());
    }

    #[test]
    fn the_shared_files_keep_to_the_rules() {
        check(&[]);
    }
}
