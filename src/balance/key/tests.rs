//! Cases of keys: where each comes from, what is none, and the cookie that is made.

use http::Request;

use super::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn hashed(on: &HashOn, parts: &Parts) -> Option<u64> {
    let key = key(on, parts, ([10, 0, 0, 1], 5000).into(), &mut Rng::seeded(1));
    assert_eq!(key.cookie, None);
    key.hash
}

fn of(value: &str) -> Option<u64> {
    Some(xxh64(value.as_bytes(), 0))
}

#[test]
fn a_header() {
    let on = HashOn::Header(HeaderName::from_static("x-user"));
    assert_eq!(hashed(&on, &parts("/", &[("x-user", "ann")])), of("ann"));
    assert_eq!(hashed(&on, &parts("/", &[("x-other", "ann")])), None);
    assert_eq!(hashed(&on, &parts("/", &[("x-user", "")])), None);
    let both = hashed(&on, &parts("/", &[("x-user", "ann"), ("x-user", "bob")]));
    assert!(both.is_some() && both != of("ann") && both != of("bob"));
    assert_ne!(both, hashed(&on, &parts("/", &[("x-user", "bob"), ("x-user", "ann")])));
}

#[test]
fn a_query_parameter() {
    let on = HashOn::Query("user id".into());
    let hash = |uri: &str| hashed(&on, &parts(uri, &[]));
    assert_eq!(hash("/?user%20id=ann"), of("ann"));
    assert_eq!(hash("/?a=b&user%20id=a%6En&user%20id=c"), of("ann"));
    assert_eq!(hash("/?user%20id=%c3%BC+1%"), of("ü+1%"));
    assert_eq!(hash("/?user%20id=%zz%4"), of("%zz%4"));
    assert_eq!(hash("/?user%20id=a=b"), of("a=b"));
    for none in ["/", "/?", "/?user%20id", "/?user%20id=", "/?xuser%20id=1", "/user%20id=1"] {
        assert_eq!(hash(none), None, "{none}");
    }
}

#[test]
fn a_path() {
    let hash = |uri: &str| hashed(&HashOn::Path, &parts(uri, &[]));
    assert_eq!(hash("/a/b?c=d"), of("/a/b"));
    assert_eq!(hash("http://web/a/b"), of("/a/b"));
    assert_eq!(hash("web:80"), None, "CONNECT has no path");
}

#[test]
fn a_source() {
    let hash = |client: &str| {
        let client = client.parse().expect("an address");
        key(&HashOn::SourceIp, &parts("/", &[]), client, &mut Rng::seeded(1)).hash
    };
    assert_eq!(hash("10.0.0.1:1"), hash("10.0.0.1:2"), "the port is another each time");
    assert_eq!(hash("10.0.0.1:1"), hash("[::ffff:10.0.0.1]:1"));
    assert_ne!(hash("10.0.0.1:1"), hash("10.0.0.2:1"));
    assert_ne!(hash("[::1]:1"), hash("[::2]:1"));
}

fn on_cookie(path: Option<&str>, ttl: Option<Duration>) -> HashOn {
    HashOn::Cookie { name: "lane".into(), path: path.map(Into::into), ttl }
}

#[test]
fn a_cookie_that_is_there() {
    let on = on_cookie(None, None);
    let hash = |headers: &[(&str, &str)]| hashed(&on, &parts("/", headers));
    assert_eq!(hash(&[("cookie", "lane=7")]), of("7"));
    assert_eq!(hash(&[("cookie", "a=b; lane=7; lane=8")]), of("7"));
    assert_eq!(hash(&[("cookie", "xlane=1;lane=7==")]), of("7=="));
    assert_eq!(hash(&[("cookie", "a=b"), ("cookie", "lane=7")]), of("7"));
}

fn made(on: &HashOn, cookie: &str, seed: u64) -> (Option<u64>, String) {
    let parts = parts("/", &[("cookie", cookie)]);
    let key = key(on, &parts, ([10, 0, 0, 1], 5000).into(), &mut Rng::seeded(seed));
    let cookie = key.cookie.expect("one was made");
    (key.hash, cookie.to_str().expect("ASCII").to_owned())
}

#[test]
fn a_cookie_that_is_missing_is_made() {
    let on = on_cookie(Some("/shop"), Some(Duration::from_secs(3600)));
    for without in ["a=b", "lane=", "Lane=7", "lane"] {
        let (hash, cookie) = made(&on, without, 1);
        let (pair, rest) = cookie.split_once("; ").expect("attributes");
        assert_eq!(rest, "Path=/shop; Max-Age=3600; HttpOnly");
        let value = pair.strip_prefix("lane=").expect("the name");
        assert!(value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit()), "{value}");
        assert_eq!(hash, of(value));
        assert_eq!(hash, hashed(&on, &parts("/", &[("cookie", pair)])), "it leads back here");
    }
    assert_ne!(made(&on, "", 1), made(&on, "", 2));
}

#[test]
fn a_cookie_has_only_the_attributes_that_were_asked_for() {
    let attributes = |on: &HashOn| made(on, "", 1).1.split_once("; ").expect("some").1.to_owned();
    assert_eq!(attributes(&on_cookie(None, None)), "HttpOnly");
    let brief = on_cookie(None, Some(Duration::from_millis(1500)));
    assert_eq!(attributes(&brief), "Max-Age=2; HttpOnly");
}
