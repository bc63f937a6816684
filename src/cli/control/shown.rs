//! Resources and changes as tables, JSON and YAML. What is printed as a manifest can be applied
//! again; what is printed as a table is for eyes.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::output::{Format, render};
use super::convert::{Change, Held, Key};
use super::diff::unified;
use super::facts::facts;

/// The resources of a list.
pub(super) fn list(held: &[Held], with_kind: bool, now: SystemTime, format: Format) -> String {
    if let Format::Table = format {
        let mut rows: Vec<Value> = held.iter().map(|held| row(held, with_kind, now)).collect();
        ["of", "status"].iter().for_each(|column| drop_empty(&mut rows, column));
        return render(&json!({ "resources": rows }), Some("resources"), format);
    }
    let items: Vec<&Value> = held.iter().map(|held| &held.manifest).collect();
    render(&json!({"apiVersion": "v1", "kind": "List", "items": items}), None, format)
}

/// One resource, that was asked for by name.
pub(super) fn one(held: &Held, now: SystemTime, format: Format) -> String {
    match format {
        Format::Table => list(std::slice::from_ref(held), false, now, format),
        Format::Json | Format::Yaml => render(&held.manifest, None, format),
    }
}

/// Leaves out a column that says nothing.
fn drop_empty(rows: &mut [Value], column: &str) {
    let is_empty = |row: &Value| match row.get(column) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        other => other.is_none_or(Value::is_null),
    };
    if rows.iter().all(is_empty) {
        let objects = rows.iter_mut().filter_map(Value::as_object_mut);
        objects.for_each(|row| drop(row.shift_remove(column)));
    }
}

/// A line of a table.
pub(super) fn row(held: &Held, with_kind: bool, now: SystemTime) -> Value {
    let mut row = named(&held.key, with_kind);
    for (name, fact) in facts(held, with_kind) {
        row[name] = fact;
    }
    row["source"] = held.source.into();
    row["age"] = span(now.duration_since(held.created).unwrap_or_default()).into();
    row["version"] = held.version.as_str().into();
    row
}

/// A line of a table for what is no more.
pub(super) fn named(key: &Key, with_kind: bool) -> Value {
    let Key { namespace, kind, name } = key;
    if with_kind {
        return json!({"namespace": namespace, "kind": kind, "name": name});
    }
    json!({"namespace": namespace, "name": name})
}

/// In the largest unit that says at least two of it: `90s`, `5m`, `47h`, `3d`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let large = units.iter().find(|(length, _)| seconds >= 2 * length);
    large.map_or(format!("{seconds}s"), |(length, unit)| format!("{}{unit}", seconds / length))
}

/// What came of `apply` or `delete`; after a dry run, with the differences.
pub(super) fn changes(changes: &[Change], dry_run: bool, format: Format, colour: bool) -> String {
    if let Format::Table = format {
        return changes.iter().map(|change| line(change, dry_run, colour)).collect();
    }
    let rows: Vec<Value> = changes.iter().map(|change| whole(change, dry_run)).collect();
    render(&json!({"dryRun": dry_run, "changes": rows}), None, format)
}

fn line(change: &Change, dry_run: bool, colour: bool) -> String {
    let Change { key, action, before, after, status } = change;
    if !dry_run {
        let fares = if is_told(status) { format!(", but {status}") } else { String::new() };
        return format!("{key} {action}{fares}\n");
    }
    let difference = unified(before.as_ref(), after.as_ref(), colour);
    format!("{key} {action} (dry run)\n{difference}")
}

/// What is as it should be needs no word.
fn is_told(status: &str) -> bool {
    !matches!(status, "" | "accepted")
}

/// The manifests only where they are the point.
fn whole(Change { key, action, before, after, status }: &Change, dry_run: bool) -> Value {
    let mut whole = json!({
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "action": action,
    });
    if !status.is_empty() {
        whole["status"] = json!(status);
    }
    if dry_run {
        whole["before"] = before.clone().unwrap_or_default();
        whole["after"] = after.clone().unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(kind: &str, name: &str, spec: Value) -> Held {
        let key = Key { namespace: "shop".into(), kind: kind.into(), name: name.into() };
        Held {
            manifest: json!({"kind": kind, "metadata": {"name": name}, "spec": spec}),
            version: "v7".into(),
            created: SystemTime::UNIX_EPOCH,
            source: "applied",
            status: String::new(),
            key,
        }
    }

    #[test]
    fn a_table_has_the_facts_of_every_kind() {
        let all = [
            held(
                "Service",
                "web",
                json!({"clusterIP": "None", "ports": [{"port": 80}, {"port": 81}]}),
            ),
            held("Workload", "web-1", json!({"address": "10.0.0.1"})),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(300);
        assert_eq!(
            list(&all, true, now, Format::Table),
            "NAMESPACE  KIND      NAME   PORTS  ADDRESS   SOURCE   AGE  VERSION\n\
             shop       Service   web    80,81  None      applied  5m   v7\n\
             shop       Workload  web-1  -      10.0.0.1  applied  5m   v7\n"
        );
        let one = one(&all[1], now, Format::Table);
        assert!(one.starts_with("NAMESPACE  NAME "), "{one}");
        assert_eq!(list(&[], false, now, Format::Table), "no resources\n");
        assert!(list(&all, false, now, Format::Yaml).contains("kind: List\n"));
    }

    #[test]
    fn routes_and_policies_say_what_they_are_about() {
        let refs = json!([{"kind": "Service", "name": "web"},
                          {"kind": "Service", "name": "api", "namespace": "other", "port": 80}]);
        let spec = json!({"parentRefs": refs, "hostnames": ["a.example"], "rules": [{}, {}]});
        let route = Held { status: "accepted".into(), ..held("HTTPRoute", "r", spec) };
        let targets = json!([{"kind": "HTTPRoute", "name": "r", "sectionName": "canary"}]);
        let spec = json!({"targetRefs": targets, "retry": {}, "timeouts": {}});
        let policies = [
            Held { status: "there is no x".into(), ..held("TrafficPolicy", "p", spec) },
            held("TrafficPolicy", "all", json!({"limits": {}})),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(300);
        assert_eq!(
            one(&route, now, Format::Table),
            "NAMESPACE  NAME  PARENTS           HOSTS      RULES  STATUS    SOURCE   AGE  VERSION\n\
             shop       r     web,api.other:80  a.example      2  accepted  applied  5m   v7\n"
        );
        assert_eq!(
            list(&policies, false, now, Format::Table),
            "NAMESPACE  NAME  TARGETS             SETS            STATUS         SOURCE   AGE  VERSION\n\
             shop       p     HTTPRoute/r#canary  retry,timeouts  there is no x  applied  5m   v7\n\
             shop       all   its namespace       limits          -              applied  5m   v7\n"
        );
    }

    #[test]
    fn spans_are_short() {
        let rows = [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h")];
        for (seconds, text) in rows.into_iter().chain([(200_000, "2d"), (40_000_000, "462d")]) {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_dry_run_says_so_and_shows_the_difference() {
        let key = Key { namespace: "shop".into(), kind: "Service".into(), name: "web".into() };
        let (before, after) = (Some(json!({"a": 1})), Some(json!({"a": 2})));
        let status = "accepted".to_owned();
        let all = [Change { key, action: "updated", before, after, status }];
        assert_eq!(changes(&all, false, Format::Table, false), "Service web.shop updated\n");
        assert_eq!(
            changes(&all, true, Format::Table, false),
            "Service web.shop updated (dry run)\n@@ -1 +1 @@\n-a: 1\n+a: 2\n"
        );
        let text = changes(&all, true, Format::Json, false);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["changes"][0]["after"]["a"], 2);
        assert_eq!(value["dryRun"], true);
    }
}
