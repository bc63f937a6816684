//! HAProxy: one thread, HTTP/2 between two of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::certificates::{Certificates, SERVER};
use super::product::{Part, Place, Speaks};

pub fn files(command: &mut Command, folder: &Path, part: &Part, certificates: &Certificates) {
    let (http, ca) = (part.speaks != Speaks::Tcp, certificates.file("ca.pem"));
    let (mode, reuse) = if http { ("http", "http-reuse always") } else { ("tcp", "") };
    let mut bind = format!("bind {}", part.listen);
    if part.place == Place::Called {
        let both = certificates.file("server.both.pem");
        let alpn = if http { " alpn h2,http/1.1" } else { "" };
        bind += &format!(" ssl crt {both} ca-file {ca} verify required curves X25519{alpn}");
    }
    let mut server = format!("server app {}", part.to);
    if part.place == Place::Caller {
        let both = certificates.file("client.both.pem");
        let alpn = if http { " alpn h2" } else { "" };
        server += &format!(" ssl crt {both} ca-file {ca} verify required sni str({SERVER}){alpn}");
    } else if part.speaks == Speaks::Grpc {
        server += " proto h2";
    }
    let front = if part.speaks == Speaks::Grpc && part.place != Place::Called {
        format!("{bind} proto h2")
    } else {
        bind
    };
    let text = format!(
        "global
  nbthread 1
  maxconn 9000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode {mode}
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  {reuse}
frontend front
  {front}
  default_backend back
backend back
  {server}
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).expect("the folder is ours");
    command.args(["-db", "-q", "-f"]).arg(file);
}
