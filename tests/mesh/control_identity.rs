//! Who gets a certificate of the control plane, who may call what, and what it says to the others.

use std::thread;
use std::time::{Duration, Instant};

use outrigger::identity::Svid;
use outrigger::identity::issue::Issued;
use outrigger::wire::Channel;
use outrigger::wire::v1;
use outrigger::wire::v1::configuration_client::ConfigurationClient;
use outrigger::wire::v1::tokens_client::TokensClient;
use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};
use tonic::{Code, Response, Status};

use crate::harness::caller::{Applicant, Caller, signing_request, uri};
use crate::harness::tls::TlsServer;
use crate::harness::{App, Certs, ControlPlane, eventually, free_address, service, spiffe};

/// The number under which the control plane remembers who joined, from a serial number.
fn enrollment(svid: &Svid) -> &str {
    let serial = svid.serial();
    &serial[..serial.len() - 16]
}

/// How often the tokens that are left can be used.
fn uses_left(plane: &ControlPlane) -> Vec<u64> {
    let list: serde_json::Value =
        serde_json::from_str(&plane.done(&["token", "list", "-o", "json"])).expect("JSON");
    let list = list["tokens"].as_array().expect("a list");
    list.iter().filter_map(|token| token["usesLeft"].as_u64()).collect()
}

/// Refused, said so in the log, without a word of the token; and nothing was issued.
#[track_caller]
fn assert_refused(plane: &ControlPlane, token: &str, request: &[u8], expected: (Code, &str)) {
    let (enrolled, refused) = (plane.enrolled(), plane.refused());
    let status = plane.nobody().enroll(request, token).expect_err("it must be refused");
    let (code, words) = expected;
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(words), "{words:?} is not in {:?}", status.message());
    plane.await_log(&format!("an enrolment was refused: {}", status.message()));
    let secret = token.rsplit('.').next().filter(|signature| signature.len() > 8);
    assert!(secret.is_none_or(|secret| !plane.log().contains(secret)), "the token is logged");
    assert_eq!((plane.enrolled(), plane.refused()), (enrolled, refused + 1.0), "{status}");
}

#[test]
fn a_token_gives_its_own_identity_and_no_other() {
    let plane = ControlPlane::start(&[]);
    let token = plane.token("web", &[]);
    for other in ["admin", "web2"] {
        let stolen = Applicant::new(other);
        let expected =
            (Code::InvalidArgument, "the token is for spiffe://cluster.local/ns/default/sa/web");
        assert_refused(&plane, &token, &stolen.request, expected);
    }
    let elsewhere = signing_request("web", &KeyPair::generate().expect("a key"), |params| {
        params.subject_alt_names = vec![uri("spiffe://other.example/ns/default/sa/web")];
    });
    let expected =
        (Code::InvalidArgument, "the token is for spiffe://cluster.local/ns/default/sa/web");
    assert_refused(&plane, &token, &elsewhere, expected);
    assert_eq!(uses_left(&plane), [1], "what was refused used nothing up");
    let own = Applicant::new("web");
    let svid = own.certified(plane.nobody().enroll(&own.request, &token).expect("its own"));
    assert_eq!((svid.id().as_str(), plane.enrolled()), (spiffe("web").as_str(), 1.0));
}

#[test]
fn a_token_is_used_up_by_keys_and_not_by_calls() {
    let plane = ControlPlane::start(&[]);
    let token = plane.token("web", &["--uses", "2"]);
    let (one, two, three) = (Applicant::new("web"), Applicant::new("web"), Applicant::new("web"));
    let join = |applicant: &Applicant| {
        applicant.certified(plane.nobody().enroll(&applicant.request, &token).expect("joined"))
    };
    let (first, again) = (join(&one), join(&one));
    assert_eq!(enrollment(&first), enrollment(&again), "the same key, the same enrolment");
    assert_ne!(first.serial(), again.serial());
    assert_eq!(uses_left(&plane), [1]);
    assert_ne!(enrollment(&first), enrollment(&join(&two)));
    assert_refused(&plane, &token, &three.request, (Code::Unauthenticated, "used up"));
    assert_eq!(enrollment(&first), enrollment(&join(&one)), "an answer may have got lost");
    assert_eq!(plane.enrolled(), 4.0);
}

#[test]
fn tokens_that_are_no_good_are_refused() {
    let (plane, foreign) = (ControlPlane::start(&[]), ControlPlane::start(&[]));
    let applicant = Applicant::new("web");
    let short = plane.token("web", &["--ttl", "1s"]);
    let (id, revoked) = plane.named_token("web", &[]);
    plane.done(&["token", "revoke", &id]);
    let (good, other) = (plane.token("web", &[]), foreign.token("web", &[]));
    let (head, tail) = good.split_at(good.len() - 12);
    let bent = format!("{head}{}", tail.chars().rev().collect::<String>());
    // No signature at all, and an algorithm that says so: {"alg":"none","typ":"JWT"}.
    let claims = good.split('.').nth(1).expect("claims");
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let cases = [
        ("revoked", revoked, "revoked"),
        ("another mesh's", other, "token"),
        ("changed", bent, "token"),
        ("unsigned", unsigned, "token"),
        ("the operators'", plane.operator_token(), "token"),
        ("empty", String::new(), "token"),
    ];
    for (what, token, words) in &cases {
        eprintln!("{what}");
        let expected = (Code::Unauthenticated, *words);
        assert_refused(&plane, token, &applicant.request, expected);
    }
    // It ends at the next whole second.
    thread::sleep(Duration::from_secs(2));
    assert_refused(&plane, &short, &applicant.request, (Code::Unauthenticated, "ended"));
    assert_eq!(plane.enrolled(), 0.0);
}

#[test]
fn signing_requests_that_want_more_or_are_damaged_are_refused() {
    let plane = ControlPlane::start(&[]);
    let token = plane.token("web", &[]);
    let key = KeyPair::generate().expect("a key");
    let ca = |params: &mut rcgen::CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let two = |params: &mut rcgen::CertificateParams| {
        params.subject_alt_names.push(uri(&spiffe("admin")));
    };
    let dns = |params: &mut rcgen::CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("web".try_into().expect("a name"))];
    };
    let nameless = |params: &mut rcgen::CertificateParams| params.subject_alt_names = Vec::new();
    let kind = |kind| {
        let key = KeyPair::generate_for(kind).expect("a key");
        signing_request("web", &key, |_| {})
    };
    let good = signing_request("web", &key, |_| {});
    let last = good.len() - 1;
    let mut flipped = good.clone();
    flipped[last] ^= 1;
    let cases: [(Vec<u8>, &str); 11] = [
        (signing_request("web", &key, ca), "asks for a CA"),
        (signing_request("web", &key, two), "2 names"),
        (signing_request("web", &key, dns), "no URI"),
        (signing_request("web", &key, nameless), "names nobody"),
        (kind(&PKCS_ECDSA_P384_SHA384), "not EC P-256"),
        (kind(&PKCS_ED25519), "not EC P-256"),
        (flipped, "not signed by its own key"),
        (good[..last].to_vec(), "damaged"),
        ([&good[..], b"more"].concat(), "don't belong to it"),
        (Vec::new(), "damaged"),
        (vec![0x30; 20_000], "16384 are the most"),
    ];
    for (request, words) in &cases {
        assert_refused(&plane, &token, request, (Code::InvalidArgument, words));
    }
    assert_eq!(uses_left(&plane), [1]);
    assert!(plane.nobody().enroll(&good, &token).is_ok());
    let member = Applicant::new("web");
    let svid = plane.joined("web");
    let greedy = signing_request("admin", &member.key, |_| {});
    let answer = plane.nobody().showing(&svid).renew("web-1", &greedy).expect("a session");
    let Some(v1::certificate_answer::Answer::Refusal(words)) = answer.answer else {
        panic!("a renewal for somebody else: {answer:?}")
    };
    assert!(words.contains("is what may be had"), "{words}");
    plane.await_log("a renewal was refused");
    assert_eq!(plane.metric("outrigger_control_certificates_issued_total", &["renewed"]), 0.0);
}

#[test]
fn a_session_needs_a_certificate_of_this_mesh() {
    let (plane, foreign) = (ControlPlane::start(&[]), ControlPlane::start(&[]));
    let status = plane.nobody().welcome("web-1").expect_err("without a certificate");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let strangers = [foreign.joined("web"), svid(&Certs::new().issue("web"))];
    for stranger in &strangers {
        let refused = plane.nobody().showing(stranger).welcome("web-1");
        assert!(refused.is_err(), "another mesh's certificate was let in");
        // Nor does it serve as no certificate at all.
        assert!(plane.operator().showing(stranger).call(list).is_err());
    }
    assert_eq!(plane.metric("outrigger_control_sessions_opened_total", &[]), 0.0);
    assert!(plane.nobody().showing(&plane.joined("web")).welcome("web-1").is_ok());
}

#[test]
fn a_session_ends_with_its_certificate_and_none_begins_after_it() {
    let plane = ControlPlane::start(&["--cert-lifetime", "5s"]);
    let caller = plane.nobody().showing(&plane.joined("web"));
    let begun = Instant::now();
    let ended = caller.outstay("web-1");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert!(ended.message().contains("certificate has ended"), "{ended}");
    assert!((1.0..9.0).contains(&begun.elapsed().as_secs_f32()), "{:?}", begun.elapsed());
    assert!(caller.welcome("web-1").is_err(), "a certificate that has ended was let in");
}

fn svid(issued: &Issued) -> Svid {
    Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).expect("PEM")
}

async fn list(channel: Channel) -> Result<Response<v1::ListResponse>, Status> {
    ConfigurationClient::new(channel).list(v1::ListRequest::default()).await
}

/// Each call of the protocol, made so that it succeeds for whoever may make it.
const CALLS: [&str; 10] = [
    "Enroll",
    "Session",
    "Apply",
    "Get",
    "List",
    "Delete",
    "Watch",
    "Create",
    "TokenList",
    "Revoke",
];

fn code(plane: &ControlPlane, caller: &Caller, call: &str) -> Code {
    let ended = match call {
        "Enroll" => {
            let applicant = Applicant::new("web");
            caller.enroll(&applicant.request, &plane.token("web", &[])).map(drop)
        }
        "Session" => caller.welcome("web-1").map(drop),
        "Create" | "TokenList" | "Revoke" => {
            caller.call(async |channel| tokens(caller, channel, call).await)
        }
        _ => caller.call(async |channel| configuration(caller, channel, call).await),
    };
    ended.err().map_or(Code::Ok, |status| status.code())
}

async fn configuration(
    caller: &Caller,
    channel: Channel,
    call: &str,
) -> Result<Response<()>, Status> {
    let mut client = ConfigurationClient::new(channel);
    let all = || caller.request(v1::ListRequest::default());
    match call {
        "Apply" => {
            let request = v1::ApplyRequest { dry_run: true, ..v1::ApplyRequest::default() };
            client.apply(caller.request(request)).await.map(drop)
        }
        "Get" => {
            let (kind, namespace, name) = ("Service".into(), "default".into(), "web".into());
            let key = Some(v1::ResourceKey { kind, namespace, name });
            client.get(caller.request(v1::GetRequest { key })).await.map(drop)
        }
        "List" => client.list(all()).await.map(drop),
        "Delete" => client.delete(caller.request(v1::DeleteRequest::default())).await.map(drop),
        "Watch" => client.watch(all()).await?.into_inner().message().await.map(drop),
        other => panic!("no call {other}"),
    }
    .map(Response::new)
}

async fn tokens(caller: &Caller, channel: Channel, call: &str) -> Result<Response<()>, Status> {
    let mut client = TokensClient::new(channel);
    match call {
        "Create" => {
            let request = v1::CreateTokenRequest {
                namespace: "default".into(),
                service_account: "web".into(),
                ttl_ms: 60_000,
                uses: 1,
                ..v1::CreateTokenRequest::default()
            };
            client.create(caller.request(request)).await.map(drop)
        }
        "TokenList" => client.list(caller.request(v1::ListTokensRequest {})).await.map(drop),
        "Revoke" => {
            let request = v1::RevokeTokenRequest { id: "none".into() };
            client.revoke(caller.request(request)).await.map(drop)
        }
        other => panic!("no call {other}"),
    }
    .map(Response::new)
}

#[test]
fn every_call_is_for_those_whom_it_names() {
    use Code::{NotFound, Ok, PermissionDenied as Denied, Unauthenticated as Unknown};
    let boss = spiffe("boss");
    let plane = ControlPlane::start(&["--operator", &boss]);
    plane.apply(&service("web"));
    let (web, boss) = (plane.joined("web"), plane.joined("boss"));
    let workload = plane.nobody().showing(&web);
    let callers = [
        ("nobody", plane.nobody(), [Unknown, Unknown, Unknown]),
        ("a sidecar", workload.clone(), [Ok, Denied, Denied]),
        ("a join token", plane.nobody().bearing(&plane.token("web", &[])), [Unknown; 3]),
        ("a wrong token", workload.clone().bearing("wrong"), [Ok, Unknown, Unknown]),
        ("the operators' token", plane.operator(), [Unknown, Ok, NotFound]),
        ("a sidecar with it", workload.bearing(&plane.operator_token()), [Ok, Ok, NotFound]),
        ("an operator's identity", plane.nobody().showing(&boss), [Ok, Ok, NotFound]),
    ];
    thread::scope(|scope| {
        let checks: Vec<_> = callers
            .iter()
            .map(|(who, caller, [session, operator, revoke])| {
                let plane = &plane;
                scope.spawn(move || {
                    for call in CALLS {
                        let expected = match call {
                            "Enroll" => &Ok,
                            "Session" => session,
                            // There is no such token: only who may ask is told so.
                            "Revoke" => revoke,
                            _ => operator,
                        };
                        assert_eq!(code(plane, caller, call), *expected, "{call} by {who}");
                    }
                })
            })
            .collect();
        checks.into_iter().for_each(|check| check.join().expect("every code as expected"));
    });
    let refused = |rpc: &str| plane.metric("outrigger_control_refusals_total", &[rpc]);
    assert_eq!(refused("Configuration/Apply"), 4.0);
    assert_eq!(refused("Mesh/Session"), 3.0);
    assert_eq!(refused("Identity/Enroll"), 0.0);
}

#[test]
fn a_registration_that_the_token_does_not_allow_is_refused_and_everybody_can_see_why() {
    let plane = ControlPlane::start(&[]);
    let app = App::ok();
    let _web = plane.instance("web-1", app.address);
    let far = "127.0.0.2:0".parse().map(|mut far: std::net::SocketAddr| {
        far.set_port(free_address().port());
        far
    });
    let refused = [
        ("its label", plane.plan("api-1").labels("app: web"), "app"),
        ("a further label", plane.plan("api-2").labels("app: api, tier: gold"), "tier"),
        ("its address", plane.plan("api-3").listen(far.expect("an address")), "127.0.0.2"),
        (
            "another's name",
            plane.plan("web-1").account("api").token(&plane.token("api", &["-l", "app=web"])),
            "taken by a workload of service account web",
        ),
    ];
    let refused = refused.map(|(what, plan, words)| (what, plan.app(app.address).spawn(), words));
    for (what, member, words) in &refused {
        member.sidecar.await_log("the control plane refused the registration");
        let log = member.sidecar.log();
        let line = log.lines().find(|line| line.contains("refused the registration"));
        assert!(line.is_some_and(|line| line.contains(words)), "{what}: {line:?}");
        let shown = member.link()["registrationRefused"].to_string();
        assert!(shown.contains(words), "{what}: {shown}");
        let ready = member.sidecar.get("/ready");
        assert_eq!(ready.status(), 503, "{what}");
        assert!(ready.text().contains("registration"), "{what}: {}", ready.text());
        plane.await_log("a registration was refused");
    }
    assert_eq!(plane.registrations(), ["web-1.default"]);
}

#[test]
fn a_workload_does_not_pass_for_the_control_plane() {
    let plane = ControlPlane::start(&[]);
    let issued = plane.joined_in_pem("web");
    let (heard, hears) = std::sync::mpsc::channel();
    let server = TlsServer::start(&issued, &["h2"], move |mut wire| {
        let _ = heard.send(wire.try_take(1).is_ok());
    });
    let member = plane.plan("api-1").address(server.address).spawn();
    member.sidecar.await_log("did not prove to be the control plane");
    let ready = member.sidecar.get("/ready");
    assert!(ready.status() == 503 && ready.text().contains("certificate"), "{}", ready.text());
    let error = member.link()["error"].to_string();
    assert!(error.contains("can't be joined"), "{error}");
    eventually("the impostor is spoken to", || server.handshakes() > 0);
    assert!(!hears.try_iter().any(|heard| heard), "the token was told to a stranger");
}
