//! Where a process spends its CPU time, as pprof reads it, while it works.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Pair, get};

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// The fields of a protobuf message that have a length, by their number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        match key & 7 {
            0 => {}
            2 => {
                let (inner, rest) = bytes.split_at(value as usize);
                bytes = rest;
                fields.push((key >> 3, inner));
            }
            other => panic!("wire type {other}"),
        }
    }
    fields
}

fn of<'b>(fields: &[(u64, &'b [u8])], number: u64) -> Vec<&'b [u8]> {
    fields.iter().filter(|(at, _)| *at == number).map(|(_, bytes)| *bytes).collect()
}

#[test]
fn a_profile_says_where_a_busy_sidecar_spends_its_time() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = || {
            let mut wire = mesh.connect();
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(wire.ask(get("/")).status(), 200, "while it is sampled");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        };
        (0..4).for_each(|_| drop(scope.spawn(load)));
        let sidecar = mesh.inbound();
        let busy = scope.spawn(|| sidecar.get("/debug/pprof/profile?seconds=2"));
        thread::sleep(Duration::from_millis(500));
        let second = sidecar.get("/debug/pprof/profile?seconds=1");
        assert_eq!(second.status(), 409, "{}", second.text());
        let answer = busy.join().expect("it is answered");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        // Again, and with the memory of the first given back.
        assert_eq!(sidecar.get("/debug/pprof/profile?seconds=1").status(), 200);
        is_over.store(true, Ordering::SeqCst);
        read(&answer.body);
    });
    assert!(asked.load(Ordering::SeqCst) > 100, "the load went on");
}

fn read(profile: &[u8]) {
    let fields = fields(profile);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
    let strings: Vec<String> = of(&fields, 6).into_iter().map(text).collect();
    let samples = of(&fields, 2);
    let (mut count, mut deepest) = (0, 0);
    for sample in &samples {
        let sample = self::fields(sample);
        let numbers = |number: u64| {
            let packed = of(&sample, number).concat();
            let (mut packed, mut all) = (&packed[..], Vec::new());
            while !packed.is_empty() {
                all.push(varint(&mut packed));
            }
            all
        };
        deepest = deepest.max(numbers(1).len());
        count += numbers(2)[0];
    }
    let names = |part: &str| strings.iter().filter(|name| name.contains(part)).count();
    eprintln!("{count} samples of {} kinds, up to {deepest} calls deep", samples.len());
    assert!(count >= 20, "{count} samples of two busy seconds");
    assert!(deepest >= 10, "calls are unwound: {deepest}");
    for part in ["outrigger::inbound", "tokio::", "outrigger::http", "outrigger-proxy"] {
        assert!(names(part) > 0, "nothing is called {part}: {strings:#?}");
    }
}

#[test]
fn how_long_a_profile_takes_is_asked_for_within_bounds() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for wrong in ["0", "301", "-1", "x", ""] {
        let answer = mesh.outbound.get(&format!("/debug/pprof/profile?seconds={wrong}"));
        assert_eq!(answer.status(), 400, "{wrong}");
        assert!(answer.text().contains("1 to 300"), "{}", answer.text());
    }
    let begun = Instant::now();
    assert_eq!(mesh.outbound.get("/debug/pprof/profile?seconds=1").status(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}
