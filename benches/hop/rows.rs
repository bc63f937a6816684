//! What is measured of each configuration, turn by turn, and the table of it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::load;

const WARM_UP: Duration = Duration::from_millis(300);

/// One configuration.
pub struct Row {
    name: String,
    /// Microseconds a request, of each turn.
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
}

impl Row {
    pub fn new(name: String) -> Self {
        Self { name, cpu_us: Vec::new(), per_second: Vec::new() }
    }

    /// Asks at `address` for so long, of processes that took `cpu` so far.
    pub fn take_turn(&mut self, address: SocketAddr, long: Duration, cpu: impl Fn() -> Duration) {
        load::run(address, WARM_UP);
        let before = cpu();
        let requests = load::run(address, long) as f64;
        self.cpu_us.push((cpu() - before).as_secs_f64() * 1e6 / requests);
        self.per_second.push(requests / long.as_secs_f64());
    }
}

/// Prints the rows, each beside the one of the first `baselines` that has its place among them.
pub fn show(rows: &[Row], baselines: usize) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let line = |name: &str, cells: &[String]| {
        say(&cells
            .iter()
            .fold(format!("{name:<width$}"), |line, cell| format!("{line}{cell:>11}")));
    };
    let base = rows.first().map_or("", |row| &row.name).split(' ').next().unwrap_or_default();
    let (over, ratio) = (format!("− {base}"), format!("/ {base}"));
    let title = ["CPU µs", "least", "most", &over, &ratio, "requests/s"];
    line("", &title.map(str::to_owned));
    for (index, row) in rows.iter().enumerate() {
        let base_us = median(&rows[index % baselines].cpu_us);
        let cpu_us = median(&row.cpu_us);
        let (least, most) = (percentile(&row.cpu_us, 0.0), percentile(&row.cpu_us, 1.0));
        let numbers = [cpu_us, least, most, cpu_us - base_us].map(|us| format!("{us:.2}"));
        let others =
            [format!("{:.3}", cpu_us / base_us), format!("{:.0}", median(&row.per_second))];
        line(&row.name, &[numbers.as_slice(), &others].concat());
    }
}

pub fn say(line: &str) {
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
