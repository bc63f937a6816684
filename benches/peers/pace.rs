//! Requests at a steady rate, whether or not answers come, and how long each took from when it was
//! due: a proxy that stalls is charged for all that waited.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const A_SECOND: u32 = 2_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: app.default\r\n\r\n";
/// What the app's answers end with.
const LAST: &[u8] = b"xxxxxxxxxx";
const WAIT: Duration = Duration::from_secs(5);

struct Asked {
    stream: TcpStream,
    /// What has come of the answer, its end for the most part.
    come: Vec<u8>,
    due: Option<Instant>,
}

/// Microseconds of half the requests at most, and of nine in ten.
pub fn run(address: SocketAddr, long: Duration) -> [f64; 2] {
    // SAFETY: takes numbers; sleeps of this thread then end within a microsecond.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
    let mut all: Vec<Asked> = (0..CONNECTIONS).map(|_| connected(address)).collect();
    let mut polled: Vec<libc::pollfd> = all.iter().map(polled).collect();
    let mut idle: VecDeque<usize> = (0..CONNECTIONS).collect();
    let count = (long.as_secs_f64() * f64::from(A_SECOND)) as u32;
    let begun = Instant::now();
    let due = |nth: u32| begun + Duration::from_secs(1) * nth / A_SECOND;
    let (mut sent, mut took_us) = (0, Vec::with_capacity(count as usize));
    while took_us.len() < count as usize {
        let now = Instant::now();
        assert!(now < begun + long + WAIT, "{} of {count} came", took_us.len());
        while sent < count
            && due(sent) <= now
            && let Some(free) = idle.pop_front()
        {
            let asked = &mut all[free];
            asked.due = Some(due(sent));
            asked.stream.write_all(REQUEST).expect("room for one request");
            sent += 1;
        }
        let is_next = sent < count && !idle.is_empty();
        let until = if is_next { due(sent) } else { now + WAIT };
        wait(&mut polled, until.saturating_duration_since(Instant::now()));
        for (nth, polled) in polled.iter().enumerate().filter(|(_, polled)| polled.revents != 0) {
            debug_assert_eq!(polled.fd, all[nth].stream.as_raw_fd());
            if let Some(us) = all[nth].take() {
                took_us.push(us);
                idle.push_back(nth);
            }
        }
    }
    took_us.sort_by(f64::total_cmp);
    [0.5, 0.9].map(|share| took_us[(took_us.len() as f64 * share) as usize])
}

/// A connection that has had its first answer.
fn connected(address: SocketAddr) -> Asked {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut asked = Asked { stream, come: Vec::new(), due: Some(Instant::now()) };
    asked.stream.write_all(REQUEST).expect("written");
    while asked.take().is_none() {}
    asked.stream.set_nonblocking(true).expect("a socket can be");
    asked
}

fn polled(asked: &Asked) -> libc::pollfd {
    libc::pollfd { fd: asked.stream.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

fn wait(polled: &mut [libc::pollfd], long: Duration) {
    let long = libc::timespec {
        tv_sec: long.as_secs().cast_signed(),
        tv_nsec: i64::from(long.subsec_nanos()),
    };
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the list is as long as it says, and outlives the call; no mask is given.
    unsafe { libc::ppoll(polled.as_mut_ptr(), count, &raw const long, std::ptr::null()) };
}

impl Asked {
    /// Reads what is there; how long the answer took, when it is whole.
    fn take(&mut self) -> Option<f64> {
        let mut buf = [0; 4096];
        let read = self.stream.read(&mut buf).expect("what was said to be there");
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&self.come));
        self.come.extend(&buf[..read]);
        if !self.come.ends_with(LAST) || !is_whole(&self.come) {
            return None;
        }
        let text = String::from_utf8_lossy(&self.come);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        self.come.clear();
        Some(self.due.take()?.elapsed().as_secs_f64() * 1e6)
    }
}

/// Whether the body's hundred bytes are there.
fn is_whole(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    head.is_some_and(|at| answer.len() - at - 4 == 100)
}
