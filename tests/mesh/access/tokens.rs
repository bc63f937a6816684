//! Tokens and API keys through real sidecars, and an issuer that serves keys, changes and goes.

#[path = "../../signer.rs"]
mod signer;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use self::signer::{Signer, claims, jwks};
use super::{govern, under};
use crate::harness::{App, Folder, Mesh, eventually, get, get_with};

const ISSUER: &str = "https://idp.example";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

/// Somebody who issues tokens.
struct Idp {
    app: App,
    keys: Arc<Mutex<String>>,
    is_up: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Idp {
    fn start(signers: &[&Signer]) -> Self {
        let keys = Arc::new(Mutex::new(jwks(signers)));
        let (is_up, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (of, up, count) = (Arc::clone(&keys), Arc::clone(&is_up), Arc::clone(&asked));
        let app = App::http(move |request| {
            count.fetch_add(1, SeqCst);
            if !up.load(SeqCst) {
                return b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n".to_vec();
            }
            match request.target() {
                "/jwks" => App::answer(of.lock().expect("nobody panicked").as_str()),
                "/moved" => {
                    b"HTTP/1.1 302 Found\r\nlocation: /jwks\r\ncontent-length: 0\r\n\r\n".to_vec()
                }
                _ => App::answer(introspected(request.header("authorization"), &request.text())),
            }
        });
        Self { app, keys, is_up, asked }
    }

    fn show(&self, signers: &[&Signer]) {
        *self.keys.lock().expect("nobody panicked") = jwks(signers);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address)
    }
}

/// `sidecar:s3cret/` may ask, and `opaque-1` is in force.
fn introspected(authorization: Option<&str>, body: &str) -> String {
    if authorization != Some("Basic c2lkZWNhcjpzM2NyZXQlMkY=") {
        return "{}".to_owned();
    }
    match body.contains("token=opaque-1&") {
        true => json!({"active": true, "scope": "read", "aud": "api", "sub": "ann"}).to_string(),
        false => json!({"active": false}).to_string(),
    }
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// What a caller's request comes to: its status and its reason.
#[track_caller]
fn ask(mesh: &Mesh, path: &str, lines: &str) -> (u16, String) {
    let answer = mesh.ask(get_with(path, lines));
    (answer.status(), answer.reason().unwrap_or_default().to_owned())
}

#[test]
fn keys_are_fetched_kept_renewed_and_survive_their_issuer() {
    let (one, two) = (Signer::new("ES256", "one"), Signer::new("RS256", "two"));
    let idp = Idp::start(&[&one]);
    let app = App::ok();
    let spec = format!(
        "jwt: [{{issuer: {ISSUER:?}, audiences: [api], jwks: {{url: {:?}}}, \
         from: [{{header: authorization}}, {{query: ticket}}, {{cookie: t}}], \
         claimHeaders: {{x-user: sub, x-none: none}}}}], \
         rules: [{{action: allow, from: [{{claims: {{roles: [admin]}}}}]}}]",
        idp.url("/jwks")
    );
    let mesh = under(app.address, &spec);
    let token = |signer: &Signer, more: Value| signer.token(&claims(ISSUER, now(), more));
    let admin = token(&one, json!({"roles": ["ops", "admin"]}));
    // The first may come before the keys have; it waits for them.
    assert_eq!(ask(&mesh, "/a", &bearer(&admin)), (200, String::new()));
    let missing = mesh.ask(get("/a"));
    assert_eq!((missing.status(), missing.reason()), (401, Some("token-missing")));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let guest = token(&one, json!({"roles": ["guest"]}));
    assert_eq!(ask(&mesh, "/a", &bearer(&guest)), (403, "denied".into()));
    let expired = token(&one, json!({"roles": ["admin"], "exp": now() - 100}));
    let refused = mesh.ask(get_with("/a", &bearer(&expired)));
    assert_eq!((refused.status(), refused.reason()), (401, Some("token-invalid")));
    let challenge = refused.header("www-authenticate").unwrap_or_default().to_owned();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
    assert!(challenge.contains("has expired"), "{challenge}");
    // What callers say of themselves, they don't; and the app does not get the token.
    let lies = "x-user: root\r\nX_User: root\r\nx-none: root\r\nconnection: x-user\r\n";
    let lines = format!("{}{lies}", bearer(&admin));
    assert_eq!(ask(&mesh, "/lies", &lines).0, 200);
    let path = format!("/query?ticket={admin}&b=c");
    assert_eq!(ask(&mesh, &path, "").0, 200);
    assert_eq!(ask(&mesh, "/cookie", &format!("cookie: a=b; t={admin}\r\n")).0, 200);
    let seen = app.requests();
    let at = |path: &str| seen.iter().find(|of| of.target().starts_with(path)).expect(path);
    assert_eq!(at("/lies").all("x-user"), ["ann"]);
    assert!(at("/lies").all("x_user").is_empty() && at("/lies").all("x-none").is_empty());
    assert!(at("/lies").all("authorization").is_empty());
    assert_eq!(at("/query").target(), "/query?b=c");
    assert_eq!(at("/cookie").all("cookie"), ["a=b"]);
    // The issuer takes a new key: whoever comes with it first has it fetched.
    idp.show(&[&two]);
    let newer = token(&two, json!({"roles": ["admin"]}));
    eventually("the new key counts", || ask(&mesh, "/b", &bearer(&newer)).0 == 200);
    eventually("the old one does not", || {
        ask(&mesh, "/b", &bearer(&admin)) == (401, "token-invalid".into())
    });
    // A flood of keys that nobody has is not passed on.
    let before = idp.asked.load(SeqCst);
    for nth in 0..100 {
        let made_up = Signer::new("ES256", &format!("k{nth}"));
        let token = token(&made_up, json!({"roles": ["admin"]}));
        assert_eq!(ask(&mesh, "/c", &bearer(&token)).0, 401);
    }
    let more = idp.asked.load(SeqCst) - before;
    assert!(more <= 10, "{more} fetches for 100 made-up keys");
    idp.is_up.store(false, SeqCst);
    let fresh = token(&two, json!({"roles": ["admin"], "jti": "fresh"}));
    assert_eq!(ask(&mesh, "/d", &bearer(&fresh)).0, 200, "the last good keys stay");
    let page = mesh.inbound().json("/policies");
    let of =
        page["inbound"].as_array().and_then(|all| all.last()).expect("a port")["tokens"][0].clone();
    assert_eq!((&of["issuer"], &of["verifiedBy"]["keys"]), (&json!(ISSUER), &json!(1)), "{of}");
    assert!(of["verifiedBy"]["ageSeconds"].is_u64(), "{of}");
    let source = format!("source=\"{}\"", idp.url("/jwks"));
    assert!(mesh.inbound().metric("outrigger_token_keys_timestamp_seconds", &[&source]) > 1e9);
    // Nothing of a token is anywhere.
    let secret = &admin[admin.len() - 40..];
    let entry = mesh.inbound().await_entry("/query?ticket=***&b=c");
    assert_eq!(entry["status"], 200);
    let logs = mesh.inbound().access_log().iter().map(Value::to_string).collect::<String>();
    for (name, text) in [
        ("the access log", logs),
        ("the log", mesh.inbound().log()),
        ("/policies", page.to_string()),
        ("/config", mesh.inbound().json("/config").to_string()),
        ("/metrics", mesh.inbound().get("/metrics").text()),
    ] {
        assert!(!text.contains(secret), "a token is in {name}");
    }
}

#[test]
fn until_keys_have_come_nobody_with_a_token_gets_in_and_others_do() {
    let signer = Signer::new("EdDSA", "");
    let idp = Idp::start(&[&signer]);
    idp.is_up.store(false, SeqCst);
    let app = App::ok();
    let spec = format!("jwt: [{{issuer: {ISSUER:?}, jwks: {{url: {:?}}}}}]", idp.url("/jwks"));
    let mesh = under(app.address, &spec);
    let token = signer.token(&claims(ISSUER, now(), json!({})));
    let refused = mesh.ask(get_with("/", &bearer(&token)));
    assert_eq!((refused.status(), refused.reason()), (401, Some("token-invalid")));
    assert!(refused.text().contains("have not been fetched yet"), "{}", refused.text());
    assert_eq!(ask(&mesh, "/", "").0, 200);
    eventually("the page says why", || {
        mesh.inbound().json("/policies").to_string().contains("it answered 500")
    });
    idp.is_up.store(true, SeqCst);
    eventually("they come", || ask(&mesh, "/", &bearer(&token)).0 == 200);
    // A redirect is followed by nobody.
    govern(&mesh, &spec.replace("/jwks\"", "/moved\""));
    eventually("it is said", || {
        mesh.inbound().json("/policies").to_string().contains("redirects are not followed")
    });
    // Keys in a file beside the sidecar, which change.
    let folder = Folder::new("keys");
    folder.write("keys.json", &jwks(&[&Signer::new("ES256", "x")]));
    let file = folder.path("keys.json").display().to_string();
    govern(&mesh, &format!("jwt: [{{issuer: {ISSUER:?}, jwks: {{file: {file:?}}}}}]"));
    eventually("the file is read", || {
        mesh.ask(get_with("/", &bearer(&token))).text().contains("does not publish")
    });
    folder.write("keys.json", &jwks(&[&signer]));
    eventually("and read again", || ask(&mesh, "/", &bearer(&token)).0 == 200);
}

#[test]
fn an_issuer_is_asked_about_tokens_that_say_nothing() {
    let idp = Idp::start(&[]);
    let app = App::ok();
    let folder = Folder::new("secret");
    folder.write("secret", "s3cret/\n");
    let spec = format!(
        "jwt: [{{issuer: {ISSUER:?}, audiences: [api], claimHeaders: {{x-user: sub}}, \
         introspection: {{url: {:?}, clientId: sidecar, clientSecretFile: {:?}, cacheFor: 10m}}}}], \
         rules: [{{action: allow, from: [{{claims: {{scope: read}}}}]}}]",
        idp.url("/introspect"),
        folder.path("secret").display().to_string()
    );
    let mesh = under(app.address, &spec);
    for _ in 0..5 {
        assert_eq!(ask(&mesh, "/", &bearer("opaque-1")).0, 200);
        assert_eq!(ask(&mesh, "/", &bearer("opaque-2")), (401, "token-invalid".into()));
    }
    assert_eq!(app.requests()[0].all("x-user"), ["ann"]);
    assert_eq!(idp.asked.load(SeqCst), 2, "each once");
    idp.is_up.store(false, SeqCst);
    assert_eq!(ask(&mesh, "/", &bearer("opaque-1")).0, 200, "it is remembered");
    let unheard = mesh.ask(get_with("/", &bearer("opaque-3")));
    assert!(unheard.text().contains("could not be asked"), "{}", unheard.text());
    assert!(!mesh.inbound().log().contains("s3cret"));
}

#[test]
fn api_keys_let_in_by_name_and_the_app_never_sees_them() {
    let app = App::ok();
    // printf %s hunter2 | sha256sum
    let spec = "audit: all, apiKeys: {header: x-api-key, sha256: {partner: \
                f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7}}, \
                rules: [{action: allow, from: [{apiKeys: [partner]}]}]";
    let mesh = under(app.address, spec);
    assert_eq!(ask(&mesh, "/", "x-api-key: hunter2\r\n").0, 200);
    assert!(app.requests()[0].all("x-api-key").is_empty());
    let wrong = mesh.ask(get_with("/", "x-api-key: hunter3\r\n"));
    assert_eq!((wrong.status(), wrong.reason()), (401, Some("token-invalid")));
    assert_eq!(wrong.header("www-authenticate"), Some("ApiKey"));
    assert_eq!(ask(&mesh, "/", ""), (401, "token-missing".into()));
    let page = mesh.inbound().json("/policies").to_string();
    assert!(page.contains("partner") && !page.contains("f52fbd32"), "{page}");
    let asked = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["explain", "--admin", &mesh.inbound().admin.to_string(), "--path", "/"])
        .args(["--port", &app.address.port().to_string(), "--peer", super::CLIENT])
        .args(["--header", "x-api-key: hunter3"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(said.contains("the API key is not known"), "{said}");
    assert!(!said.contains("hunter"), "{said}");
    // The key is taken back: the next request is refused.
    govern(&mesh, &spec.replace("f52f", "f52e"));
    eventually("it counts no longer", || ask(&mesh, "/", "x-api-key: hunter2\r\n").0 == 401);
}
