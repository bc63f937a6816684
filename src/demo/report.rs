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
    /// Absent without chaos.
    #[serde(skip_serializing_if = "Option::is_none")]
    chaos: Option<ChaosReport>,
    events: Vec<Event>,
    #[serde(skip)]
    tally: Arc<Tally>,
    #[serde(skip)]
    toll: Option<Toll>,
    #[serde(skip)]
    is_sound: bool,
}

/// How many instances were restarted or killed, and what else there was to live with.
#[derive(Debug, Serialize)]
struct ChaosReport {
    restarted: u32,
    apps_killed: u32,
    killed_with_sidecar: u32,
    certificates_replaced: u64,
    control_plane_outages: u32,
}

impl From<&Toll> for ChaosReport {
    fn from(toll: &Toll) -> Self {
        ChaosReport {
            restarted: toll.restarts,
            apps_killed: toll.apps_killed,
            killed_with_sidecar: toll.killed,
            certificates_replaced: toll.all_rotations().replaced,
            control_plane_outages: toll.outages,
        }
    }
}

/// `repeated`: by the caller itself, because nobody else can.
#[derive(Debug, Serialize)]
struct EdgeReport {
    from: &'static str,
    to: &'static str,
    protocol: &'static str,
    requests: u64,
    failed: u64,
    repeated: u64,
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
            chaos: toll.as_ref().map(ChaosReport::from),
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
            text.push_str(&format!("\n{toll}\n"));
        }
        for edge in self.edges.iter().filter(|edge| edge.repeated > 0) {
            let EdgeReport { from, to, repeated, .. } = edge;
            text.push_str(&format!(
                "{from} → {to}: {repeated} round trips were cut and repeated\n"
            ));
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
            repeated: edge.repeated(),
            p50_ms: millis(edge, 0.5),
            p99_ms: millis(edge, 0.99),
            mtls: edge.is_mtls(),
            peer: edge.peer().map(str::to_owned),
        }
    }
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
        assert_eq!(names(&value), "chaos edges events failed p50_ms p99_ms requests seconds");
        assert_eq!(names(&value["events"][0]), "at_ms what");
        let edge = &value["edges"][0];
        assert_eq!(
            names(edge),
            "failed from mtls p50_ms p99_ms peer protocol repeated requests to"
        );
        assert_eq!(value["seconds"], 1.5);
        assert_eq!(edge["mtls"], true);
        assert_eq!(edge["peer"], "spiffe://cluster.local/ns/shop/sa/shopper");
        assert_eq!(value["edges"][1]["mtls"], false);
    }

    #[test]
    fn a_process_that_left_is_a_flaw() {
        let report = Report::new(&Tally::new(), Duration::ZERO, Some(Toll::default()), false);
        assert!(!report.is_flawless());
        assert!(report.text().contains("0 instances restarted, 0 killed"), "{}", report.text());
    }

    #[test]
    fn kills_and_repeated_calls_are_counted_and_no_flaw() {
        let tally = Tally::new();
        tally.to("ledger").repeat();
        let mut toll = Toll::default();
        (toll.apps_killed, toll.killed) = (2, 3);
        let report = Report::new(&tally, Duration::ZERO, Some(toll), true);
        assert!(report.is_flawless());
        let text = report.text();
        assert!(text.contains(", 2 killed without their sidecars, 3 with them;"), "{text}");
        assert!(text.contains("orders → ledger: 1 round trips were cut and repeated"), "{text}");
        let value: Value = serde_json::from_str(&report.json()).expect("JSON");
        assert_eq!(value["chaos"]["apps_killed"], 2);
        assert_eq!(value["chaos"]["killed_with_sidecar"], 3);
        assert_eq!(value["edges"][3]["repeated"], 1);
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
