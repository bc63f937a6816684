//! Who still comes in plaintext: whom `mtls: strict` would keep out.
//!
//! An empty list is worth what stands beside it: for how long the control plane has watched, how many
//! sidecars tell it, and which of its replicas could not be heard.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::output::{Format, render};
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, judge, shown};

/// Whom strict mutual TLS would keep out, as far as they came within the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) since: SystemTime,
    /// Sidecars that are connected now.
    pub(super) sidecars: u32,
    pub(super) paths: Vec<Path>,
    /// Connections of others.
    pub(super) left_out: u64,
    /// Replicas that say so.
    pub(super) heard: usize,
    /// Those whose sidecars may have told more.
    pub(super) unheard: Vec<Unheard>,
}

/// A replica that did not say what its sidecars tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unheard {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) why: String,
}

/// From one address to one port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) workload: String,
    pub(super) port: u32,
    pub(super) address: String,
    /// Empty: nobody knows.
    pub(super) caller: String,
    pub(super) connections: u64,
    pub(super) first: SystemTime,
    pub(super) last: SystemTime,
}

/// Asks about the workloads of a namespace, or of all (empty), prints who came, and leaves with 1
/// if anybody did, or if a replica was not heard.
pub(in crate::cli) fn strict_ready(
    connection: &Connection,
    namespace: &str,
    format: Format,
) -> ExitCode {
    judge(async {
        let seen = Session::open(&Target::of(connection)?).await?.plaintext(namespace).await?;
        Ok(told(&seen, SystemTime::now(), format))
    })
}

/// In words, and whether it is good.
fn told(seen: &Seen, now: SystemTime, format: Format) -> (Answer, bool) {
    let Seen { since, sidecars, paths, left_out, heard, unheard } = seen;
    let ago = |at: SystemTime| now.duration_since(at).unwrap_or_default();
    let row = |path: &Path| {
        json!({
            "workload": path.workload,
            "port": path.port,
            "from": path.address,
            "caller": (!path.caller.is_empty()).then_some(&path.caller),
            "connections": path.connections,
            "first": shown::span(ago(path.first)),
            "last": shown::span(ago(path.last)),
        })
    };
    let rows: Vec<Value> = paths.iter().map(row).collect();
    let is_ready = rows.is_empty() && *left_out == 0 && unheard.is_empty();
    let not_heard = |Unheard { name, address, why }: &Unheard| json!({"replica": name, "address": address, "why": why});
    let page = json!({
        "ready": is_ready,
        "watchingFor": shown::span(ago(*since)),
        "sidecars": sidecars,
        "leftOut": left_out,
        "replicas": heard,
        "notAsked": unheard.iter().map(not_heard).collect::<Vec<_>>(),
        "paths": rows,
    });
    let data = match format {
        Format::Table if is_ready => "nobody came in plaintext\n".to_owned(),
        Format::Table => render(&page, Some("paths"), format),
        Format::Json | Format::Yaml => render(&page, None, format),
    };
    (Answer { data, remark: remark(seen, ago(*since)) }, is_ready)
}

fn remark(seen: &Seen, watching: Duration) -> String {
    let watching = match watching {
        long if long >= Duration::from_secs(3600) => "the last hour".to_owned(),
        short => format!("the {} since the control plane began", shown::span(short)),
    };
    let sidecars = match seen.heard {
        1 => format!("{} connected sidecars", seen.sidecars),
        several => format!("{} connected sidecars of {several} replicas", seen.sidecars),
    };
    let more = match seen.left_out {
        0 => String::new(),
        more => format!("; {more} connections of others could not be listed"),
    };
    let mut said = format!("{sidecars}, of {watching}{more}");
    for Unheard { name, address, why } in &seen.unheard {
        said.push_str(&format!(
            "\nnot heard, so nobody knows what its sidecars tell: replica {name} at {address}: {why}"
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seen(paths: Vec<Path>, left_out: u64) -> Seen {
        Seen { since: at(1_000), sidecars: 3, paths, left_out, heard: 1, unheard: Vec::new() }
    }

    fn path(caller: &str) -> Path {
        Path {
            workload: "web-1.shop".into(),
            port: 8080,
            address: "10.0.0.9".into(),
            caller: caller.into(),
            connections: 7,
            first: at(1_000),
            last: at(1_090),
        }
    }

    #[test]
    fn whoever_came_is_listed_and_makes_it_fail() {
        let (told, is_good) =
            told(&seen(vec![path("job-1.batch"), path("")], 0), at(1_100), Format::Table);
        assert_eq!(
            told.data,
            "WORKLOAD    PORT  FROM      CALLER       CONNECTIONS  FIRST  LAST\n\
             web-1.shop  8080  10.0.0.9  job-1.batch            7  100s   10s\n\
             web-1.shop  8080  10.0.0.9  -                      7  100s   10s\n"
        );
        let words = "3 connected sidecars, of the 100s since the control plane began";
        assert_eq!((told.remark.as_str(), is_good), (words, false));
    }

    #[test]
    fn a_replica_that_was_not_heard_makes_it_fail_and_is_named() {
        let (name, address) = ("cp-2".to_owned(), "10.0.0.3:15010".to_owned());
        let unheard = vec![Unheard { name, address, why: "no route to host".into() }];
        let whole = Seen { unheard, heard: 2, ..seen(Vec::new(), 0) };
        let (table, is_good) = told(&whole, at(9_000), Format::Table);
        assert!(!is_good && !table.data.contains("nobody came"), "{table:?}");
        assert!(table.remark.starts_with("3 connected sidecars of 2 replicas, of "), "{table:?}");
        let part = "replica cp-2 at 10.0.0.3:15010: no route";
        assert!(table.remark.contains(part), "{table:?}");
        let json: Value =
            serde_json::from_str(&told(&whole, at(9_000), Format::Json).0.data).expect("JSON");
        assert_eq!(
            (&json["ready"], &json["notAsked"][0]["replica"]),
            (&json!(false), &json!("cp-2"))
        );
    }

    #[test]
    fn nobody_is_good_and_says_for_how_long() {
        let told = |left_out, format| told(&seen(Vec::new(), left_out), at(9_000), format);
        let (none, more) = (told(0, Format::Table), told(5, Format::Table));
        assert_eq!(none.0.data, "nobody came in plaintext\n");
        assert_eq!(
            (none.0.remark.as_str(), none.1),
            ("3 connected sidecars, of the last hour", true)
        );
        assert!(!more.1 && more.0.remark.contains("5 connections of others"), "{more:?}");
        let json: Value = serde_json::from_str(&told(0, Format::Json).0.data).expect("JSON");
        assert_eq!((&json["ready"], &json["sidecars"]), (&json!(true), &json!(3)));
    }
}
