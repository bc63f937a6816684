//! The alert rules and the dashboard: each name and label in them is one that there is, each
//! expression is legal, each rule has a test and a page that explains it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Families, documented, has, promtool, read, said};

/// What Prometheus itself adds, or a histogram has.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// The usual ones, of which each process gives some; they have no labels.
const PROCESS: [&str; 2] = ["process_cpu_seconds_total", "process_resident_memory_bytes"];

fn known() -> Families {
    let mut families = documented("sidecar");
    families.extend(documented("control plane"));
    families.extend(PROCESS.map(|name| (name.to_owned(), BTreeSet::new())));
    families
}

/// Every expression of the dashboard, by its panel's title.
pub fn expressions() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/observability/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let expression = move |target: Value| {
            let expression = target["expr"].as_str().expect("each target has one");
            // As Grafana would put them in.
            let plain = expression.replace("$__rate_interval", "5m").replace("$service", ".*");
            assert!(!plain.contains('$'), "{plain}");
            (title.clone(), plain)
        };
        targets.into_iter().map(expression).collect::<Vec<_>>()
    };
    panels.iter().flat_map(of).collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics of an expression, each with the labels that it is asked for, and the labels by which
/// anything is grouped.
fn used(expression: &str) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let (mut metrics, mut grouped) = (BTreeMap::new(), BTreeSet::new());
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        let word: String = rest[start..].chars().take_while(|&c| is_word(c)).collect();
        rest = &rest[start + word.len()..];
        let behind = rest.trim_start();
        if word.starts_with("outrigger_") || word.starts_with("process_") {
            let selector = behind.strip_prefix('{').and_then(|s| s.split_once('}'));
            let labels = selector.map_or("", |(within, _)| within).split("\",");
            let labels = labels.filter_map(|pair| pair.split(['=', '!']).next());
            let labels = labels.map(str::to_owned).filter(|label| !label.is_empty());
            let asked: &mut BTreeSet<String> = metrics.entry(word).or_default();
            asked.extend(labels);
            rest = selector.map_or(rest, |(_, behind)| behind);
        } else if ["by", "on", "group_left"].contains(&word.as_str())
            && let Some((within, behind)) = behind.strip_prefix('(').and_then(|s| s.split_once(')'))
        {
            grouped.extend(within.split(',').map(|label| label.trim().to_owned()));
            rest = behind;
        }
    }
    grouped.remove("");
    (metrics, grouped)
}

/// Without what a histogram's series have behind the family's name.
fn family(series: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| series.strip_suffix(part)).unwrap_or(series)
}

#[track_caller]
fn hold(place: &str, expression: &str, known: &Families) {
    let (metrics, grouped) = used(expression);
    assert!(!metrics.is_empty(), "{place}: {expression} asks for nothing of ours");
    let mut all: BTreeSet<&str> = ADDED.into();
    for (series, labels) in &metrics {
        let has = known.get(family(series));
        let has = has.unwrap_or_else(|| panic!("{place}: there is no {series}"));
        all.extend(has.iter().map(String::as_str));
        for label in labels {
            assert!(has.contains(label), "{place}: {series} has no label {label}");
        }
    }
    for label in &grouped {
        assert!(all.contains(label.as_str()), "{place}: nothing there has a label {label}");
    }
}

/// Name and expression of each alert, as the file has them.
fn alerts() -> Vec<(String, String)> {
    let text = read("deploy/observability/alerts.yaml");
    let rules = text.split("- alert: ").skip(1);
    let rule = |rule: &str| {
        let name = rule.lines().next().unwrap_or_default().to_owned();
        let (_, expression) = rule.split_once("expr:").expect("each has one");
        let end = expression.find("labels:").expect("each has some");
        (name, expression[..end].to_owned())
    };
    rules.map(rule).collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let known = known();
    let all = expressions();
    for (title, expression) in &all {
        hold(title, expression, &known);
    }
    let asked: BTreeSet<String> = all
        .iter()
        .flat_map(|(_, e)| used(e).0.into_keys())
        .map(|s| family(&s).to_owned())
        .collect();
    // One is only told how many objects a watch had to list, which no chart needs.
    let left_out = [
        "outrigger_mirrored_total",
        "outrigger_control_watch_connected",
        "outrigger_control_watch_lists_total",
        // Of the few workloads that take tokens.
        "outrigger_token_keys_timestamp_seconds",
        "outrigger_token_lookups_total",
    ];
    for name in known.keys() {
        let shown = asked.contains(name) || left_out.contains(&name.as_str());
        assert!(shown, "nothing on the dashboard shows {name}");
    }
}

#[test]
fn each_alert_asks_for_what_there_is_is_tested_and_explained() {
    let known = known();
    let (tests, page) =
        (read("deploy/observability/alerts-test.yaml"), read("deploy/observability/README.md"));
    let alerts = alerts();
    assert!(alerts.len() > 15, "{alerts:?}");
    for (name, expression) in &alerts {
        hold(name, expression, &known);
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test");
        let mut titles = page.lines().filter_map(|line| line.strip_prefix("### "));
        assert!(titles.any(|title| title.split(", ").any(|one| one == name)), "{name} has no page");
    }
    for title in page.lines().filter_map(|line| line.strip_prefix("### ")) {
        for name in title.split(", ") {
            assert!(alerts.iter().any(|(alert, _)| alert == name), "{name} is no alert");
        }
    }
}

#[test]
fn promtool_finds_nothing_wrong() {
    if !has("promtool") {
        return;
    }
    let checked = promtool(&["check", "rules", "alerts.yaml"], "");
    assert!(checked.status.success(), "{}", said(&checked));
    let tested = promtool(&["test", "rules", "alerts-test.yaml"], "");
    assert!(tested.status.success(), "{}", said(&tested));
}
