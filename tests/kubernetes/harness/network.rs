//! A network namespace for this process, in which every address of the pods' and Services' ranges is
//! local.
//!
//! Pods need addresses of their own, and an API server takes no loopback ones. A Service's it calls
//! itself, where a webhook is one: whoever serves it listens there. Nothing outside sees
//! any of it, so that many may run beside each other.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Puts this thread into it. What the thread starts from now on is in it too.
pub fn network() {
    static NAMESPACE: LazyLock<File> = LazyLock::new(|| {
        // On a thread of its own: this one would be left in a namespace that others don't know.
        std::thread::spawn(make).join().expect("a network namespace can be made: it takes root")
    });
    // SAFETY: a plain system call with a descriptor that stays open.
    let entered = unsafe { libc::setns(NAMESPACE.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
}

fn make() -> File {
    // SAFETY: a plain system call; it concerns this thread alone.
    let made = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    for line in [
        "link set lo up",
        "route add local 10.244.0.0/16 dev lo",
        "route add local 10.96.0.0/16 dev lo",
        "-6 route add local fd00:10:244::/64 dev lo",
    ] {
        let status = Command::new("ip").args(line.split(' ')).status().expect("`ip` is installed");
        assert!(status.success(), "ip {line}");
    }
    File::open("/proc/thread-self/ns/net").expect("every thread has one")
}

/// A loopback address that nobody listens at: nobody else is here.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    (Ipv4Addr::LOCALHOST, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}
