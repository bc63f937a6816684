//! Plain tables and what stands in them.

use std::io::Write;
use std::time::Duration;

/// One line to standard output.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("somebody reads this");
}

/// Rows under a headline, each column as wide as its widest cell; the first flush left.
pub fn show(title: &str, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    say(&format!("\n{title}\n"));
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A row from anything that can be read.
pub fn row<T: ToString>(cells: impl IntoIterator<Item = T>) -> Vec<String> {
    cells.into_iter().map(|cell| cell.to_string()).collect()
}

/// The value that a share of all values don't exceed.
///
/// # Panics
/// When there are none.
pub fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// With one decimal.
pub fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

/// p50, p90, p99 and the largest, in milliseconds.
pub fn spread(values: &[Duration]) -> Vec<String> {
    [0.5, 0.9, 0.99, 1.0].map(|share| ms(percentile(values, share))).to_vec()
}

pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
