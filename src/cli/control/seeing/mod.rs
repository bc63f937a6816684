//! `outrigger stat`, `edges`, `top` and `traces`: what became of the mesh's traffic, as the control
//! plane remembers it; `tap`: requests as they end.
//!
//! `calls` asks and has the answers as JSON, in the words of the control plane's own `/api`; tables
//! and the `waterfall` are made of that. What each answer is worth stands beside it: how many
//! sidecars tell of it, and which replicas of the control plane did not say what theirs tell.

mod calls;
mod tap;
mod top;
mod waterfall;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::duration;
use super::super::output::{Format, Output, render};
use super::error::Error;
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, conclude};
pub(in crate::cli) use tap::Tap;
pub(in crate::cli) use top::Top;

/// What is asked about.
#[derive(Args, Debug)]
pub(super) struct About {
    /// One service: its name, or name.namespace
    service: Option<String>,
    /// The namespace; of all unless said
    #[arg(long, short = 'n')]
    namespace: Option<String>,
}

impl About {
    /// As calls write it: `name.namespace`, and the namespace; each may be empty.
    fn asked(&self) -> (String, String) {
        let namespace = self.namespace.as_deref();
        match &self.service {
            Some(name) if name.contains('.') => (name.clone(), String::new()),
            Some(name) => match name.as_str() {
                // What is outside is in no namespace.
                "external" | "unmeshed" => (name.clone(), String::new()),
                name => (format!("{name}.{}", namespace.unwrap_or("default")), String::new()),
            },
            None => (String::new(), namespace.unwrap_or_default().to_owned()),
        }
    }
}

/// What is asked, of whom, and how the answer is shown.
#[derive(Args, Debug)]
struct Asked {
    #[command(flatten)]
    about: About,
    /// The time that the numbers are about, from 10s to 30m
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = window)]
    window: Duration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// How services fare.
#[derive(Args, Debug)]
pub(in crate::cli) struct Stat {
    #[command(flatten)]
    asked: Asked,
}

/// Who calls whom.
#[derive(Args, Debug)]
pub(in crate::cli) struct Edges {
    #[command(flatten)]
    asked: Asked,
}

/// More are not answered at once.
const MOST_TRACES: u32 = 500;

/// Requests that were kept.
#[derive(Args, Debug)]
pub(in crate::cli) struct Traces {
    /// One trace, by its id or the beginning of it: all that was kept of it
    #[arg(conflicts_with_all = ["service", "failed", "slower_than", "limit"])]
    id: Option<String>,
    /// Those that a service took part in: name.namespace, or a name of the namespace default
    #[arg(long, short = 's', value_name = "NAME")]
    service: Option<String>,
    /// Only those in which something failed
    #[arg(long)]
    failed: bool,
    /// Only those that took longer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slower_than: Option<Duration>,
    /// At most so many, the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRACES)))]
    limit: Option<u32>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Asked {
    fn run(
        &self,
        ask: impl AsyncFnOnce(&Session, (String, String), Duration) -> Result<Value, Error>,
        list: &str,
        row: fn(&Value) -> Option<Value>,
    ) -> ExitCode {
        conclude(async {
            let session = Session::open(&Target::of(&self.connection)?).await?;
            let told = ask(&session, self.about.asked(), self.window).await?;
            Ok(shown(&told, list, row, self.output.format))
        })
    }
}

impl Stat {
    pub(in crate::cli) fn run(&self) -> ExitCode {
        self.asked.run(Session::stat, "services", service_row)
    }
}

impl Edges {
    pub(in crate::cli) fn run(&self) -> ExitCode {
        self.asked.run(Session::edges, "edges", edge_row)
    }
}

impl Traces {
    pub(in crate::cli) fn run(&self) -> ExitCode {
        conclude(self.ask())
    }

    async fn ask(&self) -> Result<Answer, Error> {
        let session = Session::open(&Target::of(&self.connection)?).await?;
        let format = self.output.format;
        if let Some(id) = &self.id {
            let told = session.trace(&whole(&session, id).await?).await?;
            let data = match format {
                Format::Table => waterfall::waterfall(&told),
                Format::Json | Format::Yaml => render(&told, None, format),
            };
            return Ok(Answer { data, remark: unheard(&told).join("\n") });
        }
        let about = About { service: self.service.clone(), namespace: None };
        let told = session
            .traces(about.asked().0, self.failed, self.slower_than, self.limit.unwrap_or_default())
            .await?;
        let mut answer = shown(&told, "traces", trace_row, format);
        if format == Format::Table && told["traces"].as_array().is_some_and(Vec::is_empty) {
            answer.remark = "nothing was kept; failed and slow requests always are, others as \
                             sidecars sample them (telemetry.traces)"
                .to_owned();
            unheard(&told).iter().for_each(|line| answer.remark.push_str(&format!("\n{line}")));
        }
        Ok(answer)
    }
}

/// The id of the newest trace that begins so, as tables show ids; where none does, what was asked.
async fn whole(session: &Session, beginning: &str) -> Result<String, Error> {
    let is_beginning = (4..32).contains(&beginning.len())
        && beginning.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_beginning {
        return Ok(beginning.to_owned());
    }
    let told = session.traces(String::new(), false, None, MOST_TRACES).await?;
    let ids =
        told["traces"].as_array().into_iter().flatten().filter_map(|of| of["traceId"].as_str());
    let wanted = beginning.to_ascii_lowercase();
    let found = ids.into_iter().find(|id| id.starts_with(&wanted));
    Ok(found.unwrap_or(beginning).to_owned())
}

/// The whole answer, or its rows as a table.
fn shown(told: &Value, list: &str, row: fn(&Value) -> Option<Value>, format: Format) -> Answer {
    let data = match format {
        Format::Json | Format::Yaml => render(told, None, format),
        Format::Table => {
            let rows = told[list].as_array().into_iter().flatten();
            let rows: Vec<Value> = rows.filter_map(row).collect();
            render(&json!({ list: rows }), Some(list), format)
        }
    };
    Answer { data, remark: remark(told) }
}

/// What an answer is worth.
fn remark(told: &Value) -> String {
    let sidecars = &told["sidecars"];
    let replica = told["replica"].as_str().unwrap_or_default();
    let span = super::shown::span(Duration::from_secs(told["windowS"].as_u64().unwrap_or(0)));
    let more = match told["leftOut"].as_u64() {
        Some(more) if more > 0 => format!("; {more} more rows have no room here"),
        _ => String::new(),
    };
    let all = told["replicas"].as_array().map_or(0, Vec::len);
    let unheard = unheard(told);
    let to = match (all, all.saturating_sub(unheard.len())) {
        (0 | 1, _) => replica.to_owned(),
        (all, heard) if heard == all => format!("{all} replicas"),
        (all, heard) => format!("{heard} of {all} replicas"),
    };
    let mut said = format!("of the last {span}, as told by {sidecars} sidecars to {to}{more}");
    for line in unheard {
        said.push_str(&format!("\n{line}"));
    }
    said
}

/// Replicas that did not say what their sidecars tell them.
fn unheard(told: &Value) -> Vec<String> {
    let line = |of: &Value| {
        let why = of["silence"].as_str()?;
        let [name, address] =
            [&of["replica"], &of["address"]].map(|text| text.as_str().unwrap_or_default());
        Some(format!("without what is told to replica {name} at {address}: {why}"))
    };
    told["replicas"].as_array().into_iter().flatten().filter_map(line).collect()
}

fn service_row(of: &Value) -> Option<Value> {
    let is_called = ["requests", "open"].iter().any(|count| of[*count].as_u64() > Some(0));
    if of["kind"] != "service" && !is_called {
        return None;
    }
    let endpoints = &of["endpoints"];
    let count = |state: &str| endpoints[state].as_u64().unwrap_or_default();
    let out = count("ejected") + count("halfOpen");
    let all = count("ready") + out;
    let mut row = json!({"name": of["name"], "kind": of["kind"]});
    signals(&mut row, of);
    row["sidecars"] = of["sidecars"].clone();
    row["ready"] = match all {
        0 => Value::Null,
        all => format!("{}/{all}", count("ready")).into(),
    };
    Some(row)
}

fn edge_row(of: &Value) -> Option<Value> {
    let mut row = json!({"from": of["from"], "to": of["to"], "tls": of["tls"]});
    row["protocol"] = of["protocol"].clone();
    signals(&mut row, of);
    row["client"] = of["fromIdentity"].clone();
    row["server"] = of["toIdentity"].clone();
    Some(row)
}

fn route_row(of: &Value) -> Option<Value> {
    let mut row = json!({"to": of["to"], "route": of["route"], "from": of["from"]});
    signals(&mut row, of);
    Some(row)
}

fn trace_row(of: &Value) -> Option<Value> {
    let asked = [&of["method"], &of["path"]].map(|text| text.as_str().unwrap_or_default());
    Some(json!({
        "trace": of["traceId"],
        "started": moment(of["startedMs"].as_i64().unwrap_or_default()),
        "service": of["service"],
        "request": asked.join(" ").trim(),
        "took": millis(of["durationMs"].as_f64()),
        "spans": of["spans"],
        "kept": of["kept"],
        "reason": of["reason"],
    }))
}

/// The same columns wherever there are golden signals.
fn signals(row: &mut Value, of: &Value) {
    let requests = of["requests"].as_u64().unwrap_or_default();
    row["rps"] = of["rate"].as_f64().map(|rate| (rate * 10.0).round() / 10.0).into();
    row["failed"] = match requests {
        0 => Value::Null,
        _ => share(of["failureRate"].as_f64().unwrap_or_default()).into(),
    };
    for (column, field) in [("p50", "p50Ms"), ("p95", "p95Ms"), ("p99", "p99Ms")] {
        row[column] = millis(of[field].as_f64()).into();
    }
    row["open"] = of["open"].as_u64().unwrap_or_default().into();
}

/// `0.25` → `25%`; what is not nothing never looks like it.
fn share(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        few if few < 0.1 => "<0.1%".to_owned(),
        some if some < 10.0 => format!("{some:.1}%"),
        many => format!("{many:.0}%"),
    }
}

/// In the unit that people would say it in.
fn millis(millis: Option<f64>) -> Option<String> {
    Some(match millis? {
        short if short < 10.0 => format!("{short:.1}ms"),
        some if some < 1_000.0 => format!("{some:.0}ms"),
        long => format!("{:.1}s", long / 1_000.0),
    })
}

fn moment(ms: i64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(at.strftime("%H:%M:%S%.3fZ").to_string())
}

fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    let legal = (10..=1800).contains(&window.as_secs());
    if legal { Ok(window) } else { Err("expected a duration from 10s to 30m".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_say_them() {
        let rows = [(0.0, "0%"), (0.0004, "<0.1%"), (0.0123, "1.2%"), (0.5, "50%"), (1.0, "100%")];
        for (value, text) in rows {
            assert_eq!(share(value), text);
        }
        let rows = [(0.25, "0.2ms"), (9.94, "9.9ms"), (123.4, "123ms"), (1500.0, "1.5s")];
        for (value, text) in rows {
            assert_eq!(millis(Some(value)).as_deref(), Some(text));
        }
    }

    #[test]
    fn names_are_of_a_namespace() {
        let asked = |service: Option<&str>, namespace: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            About { service: own(service), namespace: own(namespace) }.asked()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(asked(None, None), pair("", ""));
        assert_eq!(asked(None, Some("shop")), pair("", "shop"));
        assert_eq!(asked(Some("web"), None), pair("web.default", ""));
        assert_eq!(asked(Some("web"), Some("shop")), pair("web.shop", ""));
        assert_eq!(asked(Some("web.ops"), Some("shop")), pair("web.ops", ""));
        assert_eq!(asked(Some("external"), None), pair("external", ""));
    }

    #[test]
    fn services_are_a_table_that_says_what_it_is_worth() {
        let told = json!({
            "replica": "one", "windowS": 60, "sidecars": 3, "leftOut": 0,
            "services": [
                {"name": "api.shop", "kind": "service", "requests": 100, "rate": 1.666,
                 "failureRate": 0.25, "p50Ms": 1.5, "p95Ms": 20.0, "p99Ms": null, "sidecars": 2,
                 "open": 40, "endpoints": {"ready": 1, "ejected": 1, "halfOpen": 0}},
                {"name": "idle.shop", "kind": "service", "requests": 0, "rate": 0.0,
                 "failureRate": 0.0, "sidecars": 0,
                 "endpoints": {"ready": 0, "ejected": 0, "halfOpen": 0}},
                {"name": "unmeshed", "kind": "unmeshed", "requests": 0},
            ],
        });
        let answer = shown(&told, "services", service_row, Format::Table);
        assert_eq!(
            answer.data,
            "NAME       KIND     RPS  FAILED  P50    P95   P99  OPEN  SIDECARS  READY\n\
             api.shop   service  1.7  25%     1.5ms  20ms  -      40         2  1/2\n\
             idle.shop  service    0  -       -      -     -       0         0  -\n"
        );
        assert_eq!(answer.remark, "of the last 60s, as told by 3 sidecars to one");
    }

    #[test]
    fn a_replica_that_was_not_heard_is_named_at_the_foot() {
        let replica = |name: &str, silence: Value| json!({"replica": name, "address": "10.0.0.2:15010", "silence": silence});
        let told = |all: Vec<Value>| {
            remark(&json!({"replica": "one", "windowS": 60, "sidecars": 3, "replicas": all}))
        };
        let both = vec![replica("one", Value::Null), replica("two", Value::Null)];
        assert_eq!(told(both), "of the last 60s, as told by 3 sidecars to 2 replicas");
        let half = vec![replica("one", Value::Null), replica("two", "refused".into())];
        assert_eq!(
            told(half),
            "of the last 60s, as told by 3 sidecars to 1 of 2 replicas\n\
             without what is told to replica two at 10.0.0.2:15010: refused"
        );
    }
}
