//! The edges as a table, live on a terminal and at the end. It fits 100 columns; on a narrower
//! terminal lines are cut, because a wrapped one could not be drawn over.

use std::io::{self, Write};
use std::time::Duration;

use super::tally::{Edge, Tally};

/// A terminal that says nothing is taken to be this wide.
const COLUMNS: usize = 100;

/// Draws over what it drew before.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: usize,
}

impl Screen {
    /// Replaces what is shown; an empty text clears it.
    pub(super) fn draw(&mut self, text: &str) {
        let width = columns();
        let mut frame = String::new();
        if self.lines > 0 {
            // Up to the first line of ours, and clear from there.
            frame.push_str(&format!("\x1b[{}A\r\x1b[J", self.lines));
        }
        self.lines = text.lines().count();
        for line in text.lines() {
            frame.extend(line.chars().take(width));
            frame.push('\n');
        }
        let _ = io::stderr().write_all(frame.as_bytes());
    }
}

/// The terminal's width.
fn columns() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills the struct it is given, which lives on.
    let known = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if known == 0 && size.ws_col > 0 { size.ws_col.into() } else { COLUMNS }
}

/// What a terminal shows while the load runs; `toll` is what the chaos did until now.
pub(super) fn live(tally: &Tally, head: &str, toll: Option<&str>) -> String {
    let seconds = tally.begun.elapsed().as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let mut text = format!(
        "outrigger demo · {head} · {minutes:02}:{seconds:02} · Ctrl-C ends it\n\n{}",
        edges(tally)
    );
    toll.iter().for_each(|toll| text.push_str(&format!("\n{toll}\n")));
    if let Some(failure) = tally.failures().first() {
        text.push_str(&format!("\n{}\n", failure.replace('\n', " ")));
    }
    text
}

/// A heading, and a line for each edge.
pub(super) fn edges(tally: &Tally) -> String {
    let head = format!(
        "{:<7} {:<6} {:<8} {:>8} {:>6} {:>7} {:>7}  {}\n",
        "FROM", "TO", "PROTOCOL", "REQUESTS", "FAILED", "P50", "P99", "MTLS PEER"
    );
    tally.edges.iter().map(|edge| line(edge)).fold(head, |text, line| text + &line)
}

fn line(edge: &Edge) -> String {
    let peer = match edge.peer() {
        Some(peer) if edge.is_mtls() => peer,
        Some(_) => "some calls came without an identity",
        None => "-",
    };
    let time = |share| edge.quantile(share).map_or_else(|| "-".into(), millis);
    format!(
        "{:<7} {:<6} {:<8} {:>8} {:>6} {:>7} {:>7}  {peer}\n",
        edge.from,
        edge.to,
        edge.protocol,
        edge.requests(),
        edge.failed(),
        time(0.5),
        time(0.99),
    )
}

/// Three or four digits, at most seven characters below a thousand seconds.
fn millis(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        millis if millis < 10.0 => format!("{millis:.2}ms"),
        millis if millis < 999.9 => format!("{millis:.1}ms"),
        millis => format!("{:.2}s", millis / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_hundred_columns_with_every_number_at_its_widest() {
        let tally = Tally::new();
        for edge in &tally.edges {
            edge.observe(Some("spiffe://cluster.local/ns/shop/sa/shopper"));
            edge.record(Duration::from_secs(5), None::<&io::Error>);
        }
        let text = edges(&tally);
        assert_eq!(text.lines().count(), 5);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(text.contains("shopper web    http            1      0   5.11s"), "{text}");
    }
}
