//! The usual `process_*` metrics, read from `/proc` at each scrape and at no other time, and which
//! build this is. What `/proc` does not say is left out rather than reported as zero.
//! `app` and `control` call [`register`] and [`register_build`] once.

use std::fs;
use std::time::Duration;

use super::metrics::{Desc, Registry, Sink};

/// Clock ticks a second in `/proc`: USER_HZ is 100 on every architecture we build for.
const TICKS: f64 = 100.0;

const CPU: Desc = desc("process_cpu_seconds_total", "User and system CPU time spent.");
const RESIDENT: Desc = desc("process_resident_memory_bytes", "Resident memory size.");
const VIRTUAL: Desc = desc("process_virtual_memory_bytes", "Virtual memory size.");
const OPEN_FDS: Desc = desc("process_open_fds", "Open file descriptors.");
const MAX_FDS: Desc = desc("process_max_fds", "Most file descriptors that may be open.");
const START: Desc = desc("process_start_time_seconds", "Start of the process, Unix time.");
const THREADS: Desc = desc("process_threads", "Threads of the process.");

const fn desc(name: &'static str, help: &'static str) -> Desc {
    Desc { name, help, bound: 1, labels: &[] }
}

/// Adds the process metrics to `registry`.
pub fn register(registry: &Registry) {
    registry.collect(collect);
}

/// Adds `outrigger_build_info` to `registry`.
pub fn register_build(registry: &Registry) {
    let family = registry.gauge_family(
        "outrigger_build_info",
        "1, with the version as a label.",
        1,
        &["version"],
    );
    family.with(&[env!("CARGO_PKG_VERSION")]).set(1);
}

fn collect(sink: &mut Sink<'_>) {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    if let Some(stat) = Stat::parse(&text("/proc/self/stat")) {
        sink.counter(&CPU, &[], stat.cpu.as_secs_f64());
        sink.gauge(&VIRTUAL, &[], stat.virtual_bytes as f64);
        sink.gauge(&THREADS, &[], stat.threads as f64);
        if let Some(boot) = boot_time(&text("/proc/stat")) {
            sink.gauge(&START, &[], boot as f64 + stat.start_ticks as f64 / TICKS);
        }
    }
    if let Some(bytes) = resident(&text("/proc/self/status")) {
        sink.gauge(&RESIDENT, &[], bytes as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        sink.gauge(&OPEN_FDS, &[], open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = max_fds(&text("/proc/self/limits")) {
        sink.gauge(&MAX_FDS, &[], most);
    }
}

/// What we want of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: Duration,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

impl Stat {
    /// Field numbers are those of proc_pid_stat(5); the name, field 2, may hold anything, so
    /// counting starts behind its last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: Duration::from_secs_f64((field(14)? + field(15)?) as f64 / TICKS),
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
        })
    }
}

/// Unix seconds at which the kernel started, from `/proc/stat`.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Resident bytes, from `/proc/self/status`, which spares asking for the page size.
fn resident(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The soft limit, from `/proc/self/limits`.
fn max_fds(text: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match value.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Format;

    const STAT: &str = "42 (a) b 9) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 7250 \
                        16777216 512 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0";

    #[test]
    fn stat_is_read_behind_the_name() {
        let expected = Stat {
            cpu: Duration::from_secs(3),
            threads: 3,
            start_ticks: 7250,
            virtual_bytes: 16_777_216,
        };
        assert_eq!(Stat::parse(STAT), Some(expected));
        for broken in ["", "42 (name", "42 (name) S 1 2 3"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_other_files() {
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
        assert_eq!(boot_time("cpu 1 2\n"), None);
        assert_eq!(resident("VmSize:\t 9 kB\nVmRSS:\t   2048 kB\n"), Some(2_097_152));
        assert_eq!(resident("VmSize:\t 9 kB\n"), None);
        let limits = |soft| format!("Max open files            {soft}   1048576   files\n");
        assert_eq!(max_fds(&limits("1024")), Some(1024.0));
        assert_eq!(max_fds(&limits("unlimited")), Some(f64::INFINITY));
        assert_eq!(max_fds("Max processes 5 5 processes\n"), None);
    }

    #[test]
    fn this_process_reports_all_of_them() {
        let registry = Registry::default();
        register(&registry);
        let page = registry.render(Format::Prometheus);
        for desc in [CPU, RESIDENT, VIRTUAL, OPEN_FDS, MAX_FDS, START, THREADS] {
            let sample = format!("\n{} ", desc.name);
            assert!(page.contains(&sample), "{} is missing in {page}", desc.name);
        }
    }
}
