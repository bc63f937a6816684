//! nginx: one worker, HTTP/1.1 between two of them because it speaks nothing else there but gRPC.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::certificates::{Certificates, SERVER};
use super::product::{Part, Place, Speaks};

const SUITE: &str = "TLS_AES_128_GCM_SHA256";

pub fn files(command: &mut Command, folder: &Path, part: &Part, certificates: &Certificates) {
    let prefix = if part.speaks == Speaks::Grpc { "grpc" } else { "proxy" };
    let (http, called) = (part.speaks != Speaks::Tcp, part.place == Place::Called);
    let file = |name| certificates.file(name);
    let ssl = if called { " ssl" } else { "" };
    let http2 = if http && (called || part.speaks == Speaks::Grpc) { " http2" } else { "" };
    let mut server = format!("listen {}{ssl}{http2};\n", part.listen);
    if called {
        server += &format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites {SUITE}; ssl_ecdh_curve X25519;
  ssl_client_certificate {}; ssl_verify_client on;\n",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        );
    }
    let caller = part.place == Place::Caller;
    if caller {
        server += &format!(
            "{prefix}_ssl_certificate {}; {prefix}_ssl_certificate_key {};
  {prefix}_ssl_protocols TLSv1.3; {prefix}_ssl_trusted_certificate {}; {prefix}_ssl_verify on;
  {prefix}_ssl_name {SERVER}; {prefix}_ssl_server_name on;\n",
            file("client.pem"),
            file("client.key"),
            file("ca.pem")
        );
    }
    let to = part.to;
    let body = if http {
        let pass = match (part.speaks, caller) {
            (Speaks::Grpc, true) => "grpc_pass grpcs://app;",
            (Speaks::Grpc, false) => "grpc_pass grpc://app;",
            (_, true) => "proxy_pass https://app;",
            (_, false) => "proxy_pass http://app;",
        };
        let more = if part.speaks == Speaks::Grpc {
            ""
        } else {
            "proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host $host; proxy_max_temp_file_size 0;"
        };
        format!(
            "http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  upstream app {{ server {to}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{ {server} location / {{ {pass} {more} }} }} }}"
        )
    } else {
        let on = if caller { "proxy_ssl on;" } else { "" };
        format!(
            "stream {{ upstream app {{ server {to}; }}
  server {{ {server} {on} proxy_pass app; proxy_timeout 1h; }} }}"
        )
    };
    let pid = folder.join("pid").display().to_string();
    let text = format!(
        "{}worker_processes 1; daemon off; pid {pid}; error_log stderr error;
worker_rlimit_nofile 20000; pcre_jit on;
events {{ worker_connections 16000; }}
{body}
",
        modules(part)
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).expect("the folder is ours");
    command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file);
}

/// Debian builds `stream` as a module.
fn modules(part: &Part) -> &'static str {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if part.speaks == Speaks::Tcp && Path::new(MODULE).exists() {
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
    } else {
        ""
    }
}
