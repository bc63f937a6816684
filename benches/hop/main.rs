//! What policy costs: CPU microseconds a request of one plaintext hop. Measured, never judged.
//!
//! The real sidecar, a process of its own with one worker, between a load of 64 connections and an
//! app, both in this process, all on loopback. Its configurations take turns, so that what the
//! machine does meanwhile meets all of them; each turn starts it anew. Bare: one service. Full: the
//! same service behind 100 rules and every part of a policy that a request passes. Logged: full, and
//! a line of JSON for each request. `cargo bench --bench hop`, in a minute; words after `--` are
//! other builds of the sidecar, which take their turns with this one.

mod load;
mod scenario;
mod sidecar;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scenario::Configuration;
use sidecar::Sidecar;

const REPETITIONS: usize = 7;
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(2);
/// Of the app: the service has as many endpoints where it has a choice.
const ENDPOINTS: usize = 5;

fn main() {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_outrigger-proxy"));
    let others = std::env::args().skip(1).filter(|word| word != "--bench").map(PathBuf::from);
    let builds: Vec<PathBuf> = std::iter::once(own).chain(others).collect();
    let app = load::app(ENDPOINTS);
    let mut rows: Vec<Row> = Configuration::ALL
        .iter()
        .flat_map(|is| builds.iter().map(|of| Row::new(*is, of)))
        .collect();
    for _ in 0..REPETITIONS {
        rows.iter_mut().for_each(|row| row.take_turn(&app));
    }
    show(&rows, builds.len());
}

/// One configuration of one build.
struct Row {
    configuration: Configuration,
    build: PathBuf,
    /// Microseconds a request, of each turn.
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
}

impl Row {
    fn new(configuration: Configuration, build: &Path) -> Self {
        Self { configuration, build: build.to_owned(), cpu_us: Vec::new(), per_second: Vec::new() }
    }

    fn take_turn(&mut self, app: &[SocketAddr]) {
        let sidecar = Sidecar::start(&self.build, self.configuration, app);
        load::run(sidecar.address, WARM_UP);
        let before = sidecar.cpu();
        let requests = load::run(sidecar.address, MEASURED) as f64;
        self.cpu_us.push((sidecar.cpu() - before).as_secs_f64() * 1e6 / requests);
        self.per_second.push(requests / MEASURED.as_secs_f64());
    }
}

fn show(rows: &[Row], builds: usize) {
    let name = |row: &Row| match builds {
        1 => row.configuration.name().to_owned(),
        _ => format!("{} {}", row.configuration.name(), row.build.display()),
    };
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    let line = |name: &str, cells: &[String]| {
        say(&cells
            .iter()
            .fold(format!("{name:<width$}"), |line, cell| format!("{line}{cell:>11}")));
    };
    let title = ["CPU µs", "least", "most", "− bare", "/ bare", "requests/s"];
    line("", &title.map(str::to_owned));
    for (index, row) in rows.iter().enumerate() {
        // The first rows are the bare ones, a row for each build.
        let (cpu_us, bare_us) = (median(&row.cpu_us), median(&rows[index % builds].cpu_us));
        let (least, most) = (percentile(&row.cpu_us, 0.0), percentile(&row.cpu_us, 1.0));
        let numbers = [cpu_us, least, most, cpu_us - bare_us].map(|us| format!("{us:.2}"));
        let others =
            [format!("{:.3}", cpu_us / bare_us), format!("{:.0}", median(&row.per_second))];
        line(&name(row), &[numbers.as_slice(), &others].concat());
    }
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("somebody reads this");
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
