//! A flood of requests that are taken back at once, from a member of the mesh and from an app: the
//! connection is cut off with a reason, and others are served.

use crate::harness::{App, Pair, eventually, get, tls};

/// The beginning of a connection, and as many requests that are taken back at once.
fn rapid_resets(count: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // GET, http and / by their numbers in the table, and a Host.
    let head = [&[0x82, 0x86, 0x84, 0x41, 11][..], b"app.default"].concat();
    for stream in (0..count).map(|number| 2 * number + 1) {
        bytes.extend([0, 0, head.len() as u8, 1, 5]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    bytes
}

#[test]
fn a_flood_is_cut_off_and_says_so() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let flood = rapid_resets(4_000);
    let config = tls::client(Some(&mesh.certs.issue("client")), &["outrigger-h2"]);
    let mut member = tls::connect(mesh.mesh_ports[0], config).expect("a handshake");
    let _ = member.try_send(&flood);
    let mut neighbour = mesh.connect();
    let _ = neighbour.try_send(&flood);
    for (sidecar, direction) in [(mesh.inbound(), "inbound"), (&mesh.outbound, "outbound")] {
        let labels = [format!("direction=\"{direction}\""), "reason=\"flood\"".to_owned()];
        let labels = labels.each_ref().map(String::as_str);
        eventually("it is counted", || sidecar.metric("outrigger_requests_total", &labels) >= 1.0);
        eventually("it is logged", || {
            let log = sidecar.access_log();
            let mut floods = log.iter().filter(|entry| entry["reason"] == "flood");
            floods.any(|entry| entry["protocol"] == "tcp")
        });
        sidecar.await_log("connection cut off");
    }
    assert_eq!(mesh.ask(get("/")).status(), 200, "others are served");
}
