//! TLS handshakes that are begun by the thousand, and left so.
//!
//! `OUTRIGGER_HALF_OPEN` says how many; a sidecar takes half as many as it may have descriptors.

use std::env;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Bounds;
use super::doors::{Door, Scene};
use crate::harness::{App, Broken, get, tls};

/// A handshake has 10 s; the machine may be busy.
const LATEST: Duration = Duration::from_secs(25);

#[test]
fn half_open_tls_handshakes_hold_up_nobody_and_end_after_10_s() {
    raise_open_files();
    let count = env::var("OUTRIGGER_HALF_OPEN")
        .map_or(1_000, |count| count.parse::<usize>().expect("OUTRIGGER_HALF_OPEN is a number"));
    let scene = Scene::of(App::ok());
    let config = Arc::new(tls::client(None, &["outrigger-h2"]));
    let to = scene.mesh.mesh_ports[0];
    let open = scene.mesh.inbound().open_files();
    // A handshake's keys, and the sidecar's part of it, are some 30 KiB and 2 ms unoptimised.
    let bounds = Bounds {
        grows: 16.0 + count as f64 * 0.06,
        keeps: 16.0 + count as f64 * 0.004,
        cpu: Duration::from_secs(5)
            + Duration::from_millis(8) * u32::try_from(count).expect("fits"),
    };
    scene.attack(&format!("{count} half-open handshakes"), Door::Mesh, bounds, || {
        let begun = Instant::now();
        let begin = |_| tls::stall(to, &config).expect("a hello is taken");
        let mut lines: Vec<TcpStream> = (0..count).map(begin).collect();
        for line in &mut lines {
            line.read_exact(&mut [0; 5]).expect("the sidecar's own hello");
        }
        let answered = begun.elapsed();
        // A good handshake in their midst.
        let (mut wire, _) = scene.http1(Door::Mesh);
        assert_eq!(wire.ask(get("/good")).status(), 200);
        let asked = begun.elapsed() - answered;
        assert!(asked < Duration::from_secs(3), "a good one took {asked:?}");
        let mut rest = Vec::new();
        for line in &mut lines {
            line.set_read_timeout(Some(LATEST)).expect("a time above zero");
            if let Err(error) = line.read_to_end(&mut rest) {
                assert_eq!(Broken::from(error), Broken::Reset);
            }
            rest.clear();
        }
        let ended = begun.elapsed();
        let late = LATEST + answered;
        assert!(ended > Duration::from_secs(9) && ended < late, "they ended after {ended:?}");
        format!("answered within {answered:.1?}, all ended after {ended:.1?}")
    });
    let left = scene.mesh.inbound().open_files();
    assert!(left < open + 20, "{left} descriptors, and {open} before");
}

/// As many descriptors as this process may have.
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls with valid arguments.
    let is_raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    assert!(is_raised, "{}", io::Error::last_os_error());
}
