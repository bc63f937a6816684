//! The result: one JSON object for programs, a few lines for people.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::table;
use super::tally::{Edge, Event, Tally};
use super::toll::Toll;

/// Everything that a run showed. The totals are those of the load itself; an edge's numbers are
/// its caller's, its peer the called side's. Percentiles are absent where nothing was asked.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    requests: u64,
    failed: u64,
    seconds: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    edges: Vec<EdgeReport>,
    events: Vec<Event>,
    #[serde(skip)]
    tally: Arc<Tally>,
    #[serde(skip)]
    toll: Option<Toll>,
    #[serde(skip)]
    is_sound: bool,
}

#[derive(Debug, Serialize)]
struct EdgeReport {
    from: &'static str,
    to: &'static str,
    protocol: &'static str,
    requests: u64,
    failed: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    mtls: bool,
    peer: Option<String>,
}

impl Report {
    /// What was counted until now, for a load that lasted `took`; `toll`: what the chaos did;
    /// `is_sound`: nothing else went wrong.
    pub(super) fn new(
        tally: &Arc<Tally>,
        took: Duration,
        toll: Option<Toll>,
        is_sound: bool,
    ) -> Report {
        let web = tally.to("web");
        Report {
            requests: web.requests(),
            failed: web.failed(),
            seconds: rounded(took.as_secs_f64()),
            p50_ms: millis(&web, 0.5),
            p99_ms: millis(&web, 0.99),
            edges: tally.edges.iter().map(|edge| EdgeReport::new(edge)).collect(),
            events: tally.events(),
            tally: Arc::clone(tally),
            toll,
            is_sound,
        }
    }

    /// Whether no request failed, on any edge, and nothing else either.
    pub(super) fn is_flawless(&self) -> bool {
        self.is_sound && self.failed == 0 && self.edges.iter().all(|edge| edge.failed == 0)
    }

    /// One object, on several lines.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("numbers and texts can always be written") + "\n"
    }

    /// For people: totals, edges, what happened, and what failed.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} requests in {:.1} s, {} failed\n\n{}",
            self.requests,
            self.seconds,
            self.failed,
            table::edges(&self.tally)
        );
        if let Some(toll) = &self.toll {
            text.push_str(&format!("\n{}\n", said(toll)));
        }
        if !self.events.is_empty() {
            text.push('\n');
        }
        for Event { at_ms, what } in &self.events {
            text.push_str(&format!("{:>8.2} s  {what}\n", *at_ms as f64 / 1e3));
        }
        let failures = self.tally.failures();
        if !failures.is_empty() {
            text.push_str("\nThe first failures:\n");
        }
        failures.iter().for_each(|failure| text.push_str(&format!("  {failure}\n")));
        text
    }
}

impl EdgeReport {
    fn new(edge: &Edge) -> EdgeReport {
        EdgeReport {
            from: edge.from,
            to: edge.to,
            protocol: edge.protocol,
            requests: edge.requests(),
            failed: edge.failed(),
            p50_ms: millis(edge, 0.5),
            p99_ms: millis(edge, 0.99),
            mtls: edge.is_mtls(),
            peer: edge.peer().map(str::to_owned),
        }
    }
}

fn said(toll: &Toll) -> String {
    let rotations = toll.all_rotations();
    let away = toll.away().as_secs_f64();
    let Toll { restarts, outages, .. } = toll;
    format!(
        "{restarts} instances restarted; {} certificates replaced, {} tries failed; \
         the control plane was away {outages} times, {away:.1} s in sum",
        rotations.replaced, rotations.failed
    )
}

fn millis(edge: &Edge, share: f64) -> Option<f64> {
    edge.quantile(share).map(|time| rounded(time.as_secs_f64() * 1e3))
}

/// To three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_object_has_the_promised_names() {
        let tally = Tally::new();
        tally.to("web").record(Duration::from_millis(2), None::<&std::io::Error>);
        tally.to("web").observe(Some("spiffe://cluster.local/ns/shop/sa/shopper"));
        tally.happened("x".into());
        let report = Report::new(&tally, Duration::from_millis(1500), Some(Toll::default()), true);
        assert!(report.is_flawless());
        let value: Value = serde_json::from_str(&report.json()).expect("JSON");
        let names = |value: &Value| {
            let mut names: Vec<String> =
                value.as_object().expect("an object").keys().cloned().collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(&value), "edges events failed p50_ms p99_ms requests seconds");
        assert_eq!(names(&value["events"][0]), "at_ms what");
        let edge = &value["edges"][0];
        assert_eq!(names(edge), "failed from mtls p50_ms p99_ms peer protocol requests to");
        assert_eq!(value["seconds"], 1.5);
        assert_eq!(edge["mtls"], true);
        assert_eq!(edge["peer"], "spiffe://cluster.local/ns/shop/sa/shopper");
        assert_eq!(value["edges"][1]["mtls"], false);
    }

    #[test]
    fn a_process_that_left_is_a_flaw() {
        let report = Report::new(&Tally::new(), Duration::ZERO, Some(Toll::default()), false);
        assert!(!report.is_flawless());
        assert!(report.text().contains("0 instances restarted; 0 certif"), "{}", report.text());
    }

    #[test]
    fn a_failure_further_in_counts() {
        let tally = Tally::new();
        let error = std::io::Error::other("broke");
        tally.to("ledger").record(Duration::ZERO, Some(&error));
        let report = Report::new(&tally, Duration::ZERO, None, true);
        assert!(!report.is_flawless());
        assert!(report.text().contains("orders → ledger: broke"), "{}", report.text());
    }
}
