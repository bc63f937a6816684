//! Envoy: one worker, HTTP/2 between two of them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::certificates::{Certificates, SERVER};
use super::product::{Part, Place, Speaks};

pub fn files(command: &mut Command, folder: &Path, part: &Part, certificates: &Certificates) {
    let text = config(part, certificates).to_string();
    let file = folder.join("envoy.json");
    fs::write(&file, text).expect("the folder is ours");
    command.arg("-c").arg(file);
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
}

fn typed(name: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.{name}").into();
    config
}

fn config(part: &Part, certificates: &Certificates) -> Value {
    let http = part.speaks != Speaks::Tcp;
    let mut app = json!({"name": "app", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "app", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": socket(part.to)}}]}]}});
    let http2 = part.speaks == Speaks::Grpc || part.place == Place::Caller;
    if http {
        let version = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
        let options = typed(
            "extensions.upstreams.http.v3.HttpProtocolOptions",
            json!({"explicit_http_config": {version: {}}}),
        );
        app["typed_extension_protocol_options"] =
            json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options});
    }
    if part.place == Place::Caller {
        let alpn: &[&str] = if http { &["h2"] } else { &[] };
        let who = json!({"exact": "spiffe://cluster.local/ns/default/sa/server"});
        let mut tls = tls("UpstreamTlsContext", "client", alpn, &who, certificates);
        tls["typed_config"]["sni"] = SERVER.into();
        app["transport_socket"] = tls;
    }
    let filter = if http { http_filter() } else { tcp_filter() };
    let mut chain = json!({"filters": [filter]});
    if part.place == Place::Called {
        let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &[] };
        let who = json!({"prefix": "spiffe://cluster.local/"});
        let mut tls = tls("DownstreamTlsContext", "server", alpn, &who, certificates);
        tls["typed_config"]["require_client_certificate"] = true.into();
        chain["transport_socket"] = tls;
    }
    let listener =
        json!({"name": "front", "address": socket(part.listen), "filter_chains": [chain]});
    json!({"static_resources": {"listeners": [listener], "clusters": [app]}})
}

fn socket(address: SocketAddr) -> Value {
    let (ip, port) = (address.ip().to_string(), address.port());
    json!({"socket_address": {"address": ip, "port_value": port}})
}

fn http_filter() -> Value {
    let router = typed("extensions.filters.http.router.v3.Router", json!({}));
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}});
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    let manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({"stat_prefix": "front", "codec_type": "AUTO",
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"name": "routes", "virtual_hosts": [host]}}),
    );
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager})
}

fn tcp_filter() -> Value {
    let proxy = typed(
        "extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({"stat_prefix": "front", "cluster": "app"}),
    );
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy})
}

/// TLS 1.3 has AES-128 first here, and no choice of suites.
fn tls(
    context: &str,
    own: &str,
    alpn: &[&str],
    peer: &Value,
    certificates: &Certificates,
) -> Value {
    let file = |name: &str| json!({"filename": certificates.file(name)});
    let common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3", "ecdh_curves": ["X25519"]},
        "alpn_protocols": alpn,
        "tls_certificates": [{"certificate_chain": file(&format!("{own}.pem")),
            "private_key": file(&format!("{own}.key"))}],
        "validation_context": {"trusted_ca": file("ca.pem"),
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}]}});
    let config = typed(
        &format!("extensions.transport_sockets.tls.v3.{context}"),
        json!({"common_tls_context": common}),
    );
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}
