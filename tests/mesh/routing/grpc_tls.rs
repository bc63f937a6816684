//! gRPC to a host outside the mesh: HTTP/2 over TLS, agreed on by ALPN.

use crate::harness::grpc::{H2Client, grpc_request};
use crate::harness::public_ca::{GrpcOverTls, PublicCa};
use crate::harness::yaml::{policy, service_of, workload};
use crate::harness::{Afloat, Folder, Lone};

/// `echo` speaks a protocol over TLS, with this root.
fn outside(server: &GrpcOverTls, protocol: &str, folder: &Folder, ca: &PublicCa) -> Afloat {
    folder.write("roots.pem", &ca.root_pem);
    let roots = folder.path("roots.pem").display().to_string();
    let instance = workload("echo", "echo", server.address)
        .replace("address: 127.0.0.1", "address: localhost");
    let tls = format!("tls: {{originate: {{sni: grpc.example, caFile: {roots}}}}}");
    Lone::with(&(service_of("echo", protocol) + &instance + &policy("echo", &tls))).start()
}

async fn call(caller: &Afloat) -> crate::harness::grpc::Reply {
    let client = H2Client::connect(caller.echo()).await;
    client.call(grpc_request("/t.T/M").body(()).expect("a request"), &[b"hi"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_over_http_2_that_alpn_agreed_on() {
    let (ca, folder) = (PublicCa::new(), Folder::new("roots"));
    for protocol in ["grpc", "http2"] {
        let server = GrpcOverTls::start(&ca.issue("grpc.example"), &["http/1.1", "h2"]);
        let caller = outside(&server, protocol, &folder, &ca);
        for _ in 0..3 {
            let reply = call(&caller).await;
            assert_eq!(reply.grpc_status(), Some("0"), "{protocol}: {reply:?}");
            assert_eq!(reply.messages(), [b"outside"]);
        }
        let shaken = server.shaken();
        assert_eq!(shaken.len(), 1, "one connection carries all");
        assert_eq!(shaken[0].alpn.as_deref(), Some("h2"), "{protocol}");
        assert_eq!(shaken[0].sni.as_deref(), Some("grpc.example"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_other_roots_ends_calls_with_a_code_and_a_sentence() {
    let (ca, other, folder) = (PublicCa::new(), PublicCa::new(), Folder::new("roots"));
    let server = GrpcOverTls::start(&ca.issue("grpc.example"), &["h2"]);
    let caller = outside(&server, "grpc", &folder, &other);
    let reply = call(&caller).await;
    assert_eq!((reply.status, reply.grpc_status()), (200, Some("14")));
    assert_eq!(reply.header("x-outrigger-reason"), Some("upstream-tls-failure"));
    assert!(reply.grpc_message().is_some_and(|sentence| sentence.len() > 20), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_agrees_on_no_http_2_is_refused() {
    let (ca, folder) = (PublicCa::new(), Folder::new("roots"));
    let server = GrpcOverTls::start(&ca.issue("grpc.example"), &["http/1.1"]);
    let caller = outside(&server, "grpc", &folder, &ca);
    let reply = call(&caller).await;
    assert_eq!(reply.grpc_status(), Some("14"), "{reply:?}");
    assert_eq!(reply.header("x-outrigger-reason"), Some("upstream-tls-failure"));
}
