//! Who may use the operator's credentials through the port on this machine.
//!
//! Others on the machine can reach the port, and so can web pages that its browser shows. The link
//! holds a key that works once and is answered with a cookie, kept from scripts and from requests
//! that other sites make. A key that comes again may have been used by somebody else first: then
//! whoever is in is out. Cookies know no ports, and every other server on 127.0.0.1 would be sent
//! it. So the pages are at a host that nobody can guess, under `localhost`, which browsers look for
//! on this machine alone (RFC 6761, 6.3); and at no other.

use std::net::SocketAddr;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};

use crate::control::OperatorToken;
use crate::http::answers::{self, Answer};
use crate::http::local_only;

/// What the port of one `outrigger dashboard` lets in.
pub(super) struct Door {
    /// With the port, as Host has it.
    host: String,
    /// Of the link.
    key: String,
    /// Those that somebody is in with.
    used: Vec<String>,
    /// Of the cookie; `None` while nobody is in.
    pass: Option<String>,
}

/// What becomes of a request.
pub(super) enum Entry {
    In,
    Out(Answer),
    /// The key was right, and is no more.
    Used {
        answer: Answer,
        next: String,
    },
    /// The key was right once. Whoever was in is out.
    Again {
        answer: Answer,
        next: String,
    },
}

/// Of the cookie, which no other port's server is sent.
const COOKIE: &str = "outrigger";

/// Characters of the host's random part: 128 bits; a label has room for 63.
const LABEL: usize = 32;

impl Door {
    /// `None`: the machine gives no random numbers.
    pub(super) fn new(port: u16) -> Option<Self> {
        let mut label = OperatorToken::invent()?;
        label.truncate(LABEL);
        let host = format!("{label}.localhost:{port}");
        Some(Self { host, key: OperatorToken::invent()?, used: Vec::new(), pass: None })
    }

    /// For the one who may enter next.
    pub(super) fn link(&self) -> String {
        format!("http://{}/?key={}", self.host, self.key)
    }

    pub(super) fn enter<B>(&mut self, request: &Request<B>, client: SocketAddr) -> Entry {
        if !local_only::is_this_machine(client.ip()) {
            return forbidden(format!("{}\n", local_only::Refusal::Elsewhere.sentence()));
        }
        // Whatever it shows: what is sent to another host may have been sent to others too.
        if !self.is_at_home(request) {
            return forbidden(LINK.to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let sentence = "the dashboard only reads: use GET\n";
            return Entry::Out(answers::text(StatusCode::METHOD_NOT_ALLOWED, sentence));
        }
        let key = request.uri().query().and_then(|query| query.strip_prefix("key="));
        let key = key.filter(|_| request.method() == Method::GET);
        if key.is_some_and(|key| is(&self.key, key)) {
            return self.let_in();
        }
        if self.has_pass(request.headers()) {
            return Entry::In;
        }
        if key.is_some_and(|key| self.used.iter().any(|used| is(used, key))) {
            return self.shut();
        }
        forbidden(LINK.to_owned())
    }

    fn is_at_home<B>(&self, request: &Request<B>) -> bool {
        let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
        let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        named.or(host).is_some_and(|host| host.eq_ignore_ascii_case(self.host.as_bytes()))
    }

    fn has_pass(&self, headers: &HeaderMap) -> bool {
        let Some(own) = &self.pass else { return false };
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(';')).any(|pair| {
            pair.trim().split_once('=').is_some_and(|(n, pass)| n == COOKIE && is(own, pass))
        })
    }

    /// The answer is a page that goes on to the dashboard, and no redirect: browsers keep such a
    /// cookie back from where another site's link leads, through redirects too (RFC 6265bis, 5.2).
    fn let_in(&mut self) -> Entry {
        let (Some(invented), Some(next)) = (OperatorToken::invent(), OperatorToken::invent())
        else {
            return no_chance();
        };
        let pass = self.pass.get_or_insert(invented);
        let cookie = format!("{COOKIE}={pass}; Path=/; HttpOnly; SameSite=Strict");
        let Ok(cookie) = HeaderValue::try_from(cookie) else { return no_chance() };
        let mut answer = answers::text(StatusCode::OK, "the dashboard is at /\n");
        let headers = answer.headers_mut();
        headers.insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::SET_COOKIE, cookie);
        self.used.push(std::mem::replace(&mut self.key, next));
        Entry::Used { answer, next: self.link() }
    }

    /// Whoever has a key that was used may be the one whose it was.
    fn shut(&mut self) -> Entry {
        self.pass = None;
        self.used.clear();
        let sentence = "this link was used before: if not by you, then by somebody else on this \
                        machine. Nobody is let in any more; open the newest link that `outrigger \
                        dashboard` printed\n";
        Entry::Again { answer: answers::text(StatusCode::FORBIDDEN, sentence), next: self.link() }
    }
}

const LINK: &str = "open the link that `outrigger dashboard` printed; each works once, and the \
                    next one stands below it\n";

fn forbidden(sentence: String) -> Entry {
    Entry::Out(answers::text(StatusCode::FORBIDDEN, sentence))
}

fn no_chance() -> Entry {
    let sentence = "this machine gives no random numbers\n";
    Entry::Out(answers::text(StatusCode::INTERNAL_SERVER_ERROR, sentence))
}

/// Takes the same time for every guess.
fn is(secret: &str, shown: &str) -> bool {
    OperatorToken::new(secret).is_some_and(|secret| secret.is(shown.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:40000";

    fn asked(method: &str, path: &str, host: &str, cookie: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(path).header("host", host);
        request.header("cookie", cookie).body(()).expect("a request")
    }

    fn status(entry: &Entry) -> u16 {
        match entry {
            Entry::In => 200,
            Entry::Out(answer) | Entry::Used { answer, .. } | Entry::Again { answer, .. } => {
                answer.status().as_u16()
            }
        }
    }

    fn door() -> Door {
        Door::new(4711).expect("random numbers")
    }

    fn enter(door: &mut Door, path: &str, cookie: &str) -> Entry {
        let request = asked("GET", path, &door.host.clone(), cookie);
        door.enter(&request, HERE.parse().expect("an address"))
    }

    #[test]
    fn the_link_lets_in_once_and_the_cookie_from_then_on() {
        let mut door = door();
        let client = HERE.parse().expect("an address");
        let (key, home) = (door.key.clone(), door.host.clone());
        assert_eq!(door.link(), format!("http://{home}/?key={key}"));
        assert!(home.len() == "localhost:4711".len() + 33 && home.ends_with(".localhost:4711"));
        let first = enter(&mut door, &format!("/?key={key}"), "");
        let Entry::Used { answer, next } = first else { panic!("{}", status(&first)) };
        let pass = door.pass.clone().expect("somebody is in");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        assert_eq!(cookie, format!("outrigger={pass}; Path=/; HttpOnly; SameSite=Strict"));
        let refresh = answer.headers()["refresh"].to_str().expect("text");
        assert_eq!((answer.status().as_u16(), refresh), (200, "0; url=/"));
        assert!(!next.contains(&key) && next == door.link(), "{next}");

        let own = format!("a=b; outrigger={pass}");
        let other = format!("outrigger={pass}0");
        let (used, loud) = (format!("/?key={key}"), home.to_uppercase());
        for (method, path, host, cookie, expected) in [
            ("GET", "/", home.as_str(), own.as_str(), 200),
            ("HEAD", "/api/graph?window=30", &loud, &own, 200),
            ("GET", &used, &home, &own, 200),
            ("GET", "/", "127.0.0.1:4711", &own, 403),
            ("GET", "/", "localhost:4711", &own, 403),
            ("GET", "/", "x.localhost:4711", &own, 403),
            ("GET", "/", home.trim_end_matches("4711"), &own, 403),
            ("GET", "/", "evil.example:4711", &own, 403),
            ("POST", "/log?level=debug", &home, &own, 405),
            ("GET", &used, "127.0.0.1:4711", "", 403),
            ("GET", "/", &home, &other, 403),
            ("GET", "/", &home, "outrigger=", 403),
            ("GET", "/?key=", &home, "", 403),
            ("GET", "/metrics", &home, "", 403),
        ] {
            let entry = door.enter(&asked(method, path, host, cookie), client);
            assert_eq!(status(&entry), expected, "{method} {path} {host} {cookie}");
        }
        for away in ["10.1.2.3:4000", "127.0.0.6:4000"] {
            let away = away.parse().expect("an address");
            assert_eq!(status(&door.enter(&asked("GET", "/", &home, &own), away)), 403);
        }
        // Another browser, by the next link.
        let next = format!("/?key={}", door.key);
        let second = enter(&mut door, &next, "");
        assert!(matches!(second, Entry::Used { .. }) && door.pass.as_ref() == Some(&pass));
    }

    #[test]
    fn a_link_that_comes_a_second_time_shuts_everybody_out() {
        let mut door = door();
        let link = format!("/?key={}", door.key);
        assert!(matches!(enter(&mut door, &link, ""), Entry::Used { .. }));
        let pass = format!("outrigger={}", door.pass.clone().expect("somebody is in"));
        assert!(matches!(enter(&mut door, "/", &pass), Entry::In));
        let again = enter(&mut door, &link, "");
        let Entry::Again { answer, next } = again else { panic!("{}", status(&again)) };
        assert_eq!(answer.status().as_u16(), 403);
        assert_eq!(status(&enter(&mut door, "/", &pass)), 403);
        // Once: the key is nothing any more, and can't shut out who comes by the next link.
        let next = next.split_once("/?").map(|(_, key)| format!("/?{key}")).expect("a key");
        assert!(matches!(enter(&mut door, &next, ""), Entry::Used { .. }));
        let pass = format!("outrigger={}", door.pass.clone().expect("somebody is in"));
        assert_eq!(status(&enter(&mut door, &link, "")), 403);
        assert!(matches!(enter(&mut door, "/", &pass), Entry::In));
    }
}
