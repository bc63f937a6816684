//! Every family that is documented is there with exactly its labels, and no other is.

use std::collections::BTreeSet;

use super::scene::Scene;
use super::{Families, documented, has, promtool, said};
use crate::harness::Sidecar;

/// Families without series until something rare happens: a full family, a refused call, keys of
/// tokens that are fetched, a cluster.
const RARE: &[&str] = &[
    "outrigger_series_dropped_total",
    "outrigger_token_keys_timestamp_seconds",
    "outrigger_token_lookups_total",
    "outrigger_control_refusals_total",
    "outrigger_control_injections_total",
    "outrigger_control_validations_total",
    "outrigger_control_watch_connected",
    "outrigger_control_watch_last_event_timestamp_seconds",
    "outrigger_control_watch_lists_total",
];

const OPEN_METRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// The families of a page of metrics, `process_*` left out; all series of each have the same labels.
fn scraped(page: &str) -> Families {
    let mut families = Families::new();
    let (mut family, mut kind) = ("", "");
    for line in page.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            (family, kind) = of.split_once(' ').expect("a name and a kind");
            continue;
        }
        if line.starts_with('#') || family.starts_with("process_") {
            continue;
        }
        assert!(line.starts_with(family), "{line} stands below {family}");
        let mut labels = labels(line);
        if kind == "histogram" {
            labels.remove("le");
        }
        let known = families.entry(family.to_owned()).or_insert_with(|| labels.clone());
        assert_eq!(*known, labels, "{line}");
    }
    families
}

/// The label names of a sample; none of our values has a brace or an escaped quote.
fn labels(line: &str) -> BTreeSet<String> {
    let within = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let pairs = within.map_or("", |(within, _)| within).split("\",");
    pairs.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

#[track_caller]
fn hold(of: &str, found: &Families) {
    let documented = documented(of);
    for (name, labels) in found {
        assert_eq!(documented.get(name), Some(labels), "{name} in the README's table of the {of}");
    }
    let missing: Vec<&String> = documented
        .keys()
        .filter(|name| !found.contains_key(*name) && !RARE.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of the {of} were not seen");
}

#[test]
fn every_family_is_as_documented() {
    let scene = Scene::played();
    let page = |sidecar: &Sidecar| sidecar.get("/metrics").text();
    let mut found = scraped(&page(&scene.caller.sidecar));
    found.extend(scraped(&page(&scene.web.sidecar)));
    hold("sidecar", &found);
    let plane = scene.plane.page("/metrics").expect("it answers").text();
    hold("control plane", &scraped(&plane));
    open_metrics(&scene);
    if has("promtool") {
        for page in [page(&scene.caller.sidecar), page(&scene.web.sidecar), plane] {
            let checked = promtool(&["check", "metrics"], &page);
            assert!(checked.status.success(), "{}", said(&checked));
        }
    }
}

/// The same in the other format: names of counters without `_total`, an end, exemplars.
fn open_metrics(scene: &Scene) {
    let ask = |sidecar: &Sidecar| {
        let answer = sidecar.try_admin("GET", "/metrics", OPEN_METRICS).expect("it answers");
        let kind = answer.header("content-type").unwrap_or_default().to_owned();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        let text = answer.text();
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(!text.contains("_total counter\n"), "{text}");
        assert!(text.contains("\n# TYPE outrigger_requests counter\n"), "{text}");
        text
    };
    for sidecar in [&scene.caller.sidecar, &scene.web.sidecar] {
        let text = ask(sidecar);
        let with = |line: &&str| line.contains(super::scene::TRACE);
        let exemplars: Vec<&str> = text.lines().filter(with).collect();
        assert!(
            exemplars
                .iter()
                .all(|line| line.starts_with("outrigger_request_duration_seconds_bucket"))
                && exemplars.len() == 1,
            "{exemplars:?} of {text}"
        );
    }
}
