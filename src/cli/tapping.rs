//! What `outrigger tap` and `outrigger proxy tap` have in common: the flags that say which requests are
//! wanted, and how a request looks as a line for people.
//!
//! A request is a JSON object in the words of the access log, wherever it comes from. Lines come one by
//! one, so columns are as wide as whatever stood in them so far.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::duration;
use crate::model::Reason;
use crate::telemetry::span::has_failed;
use crate::telemetry::tap::{Filter, MOST_RATE, RATE};

/// How requests are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// One aligned line each
    Text,
    /// One JSON object each, in the words of the access log
    Json,
}

/// Which requests, how many, and how they are printed.
#[derive(Args, Clone, Debug)]
pub(super) struct Wanted {
    /// Only these methods: GET, or GET,POST
    #[arg(long, value_name = "METHODS")]
    method: Option<String>,
    /// Only this path, without its query; /orders* is whatever begins so
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only these statuses: 503, 5xx, or 429,5xx
    #[arg(long, value_name = "STATUSES")]
    status: Option<String>,
    /// Only failures of the mesh or an app, as `outrigger stat` counts them
    #[arg(long)]
    failed: bool,
    /// Only what is taken, or what is made: inbound or outbound
    #[arg(long)]
    direction: Option<String>,
    /// Only calls of a service: name.namespace, or name.namespace:port
    #[arg(long, short = 's', value_name = "NAME")]
    service: Option<String>,
    /// Only what a proxy answered or closed for these reasons: circuit-open, or denied,no-route
    #[arg(long, value_name = "REASONS")]
    reason: Option<String>,
    /// Only what took at least as long, to the last byte
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slower: Option<Duration>,
    /// At most so many a second, up to 1000; what is left out is counted
    #[arg(long, value_name = "NUMBER", default_value_t = RATE, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_RATE)))]
    pub(super) rate: u32,
    /// End after so many
    #[arg(long, short = 'c', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// How they are printed
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Form::Text)]
    pub(super) form: Form,
}

impl Wanted {
    /// All that is said, in the words of a sidecar's `/tap`.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let slower = self.slower.map(|slower| format!("{}ms", slower.as_millis().max(1)));
        let pairs = [
            ("method", self.method.clone()),
            ("path", self.path.clone()),
            ("status", self.status.clone()),
            ("failed", self.failed.then(|| "true".to_owned())),
            ("direction", self.direction.clone()),
            ("service", self.service.clone()),
            ("reason", self.reason.clone()),
            ("slower", slower),
            ("rate", Some(self.rate.to_string())),
            ("count", self.count.map(|count| count.to_string())),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Which requests; a bare service is one of `namespace`.
    ///
    /// # Errors
    /// Every flag that can't be read, and what could.
    pub(super) fn filter(&self, namespace: &str) -> Result<Filter, Vec<String>> {
        let service = self.service.as_ref().map(|service| match service.contains('.') {
            true => service.clone(),
            false if service == "unknown" => service.clone(),
            false => {
                let (name, port) = service.split_at(service.find(':').unwrap_or(service.len()));
                format!("{name}.{namespace}{port}")
            }
        });
        let mut filter = Filter { failed: self.failed, slower: self.slower, ..Filter::default() };
        let mut faults = Vec::new();
        for (field, value) in [
            ("method", self.method.as_ref()),
            ("path", self.path.as_ref()),
            ("status", self.status.as_ref()),
            ("direction", self.direction.as_ref()),
            ("service", service.as_ref()),
            ("reason", self.reason.as_ref()),
        ] {
            let set = value.map_or(Ok(()), |value| filter.set(field, value));
            faults.extend(set.err().map(|why| format!("error: --{field}: {why}")));
        }
        if faults.is_empty() { Ok(filter) } else { Err(faults) }
    }
}

const HEADINGS: [&str; 11] = [
    "TIME",
    "DIRECTION",
    "FROM",
    "TO",
    "REQUEST",
    "STATUS",
    "REASON",
    "TOOK",
    "TRIES",
    "ENDPOINT",
    "TRACE",
];
/// Where a column's width begins: what is usual, so that few lines stand out of line.
const USUAL: [usize; 11] = [12, 9, 16, 18, 32, 6, 6, 6, 5, 16, 8];
/// A column gets no wider than that; longer words push the rest of their own line only.
const WIDEST: usize = 48;

/// Lines for people.
pub(super) struct Lines {
    widths: [usize; 11],
    /// Failures stand out.
    colour: bool,
}

impl Lines {
    pub(super) fn new(colour: bool) -> Self {
        Self { widths: USUAL, colour }
    }

    /// What stands above them.
    pub(super) fn heading(&mut self) -> String {
        self.line(&HEADINGS.map(str::to_owned))
    }

    /// A request; `workload` is whose sidecar saw it, unless the request says so.
    pub(super) fn of(&mut self, request: &Value, workload: &str) -> String {
        let line = self.line(&cells(request, workload));
        match self.colour && is_failure(request) {
            true => format!("\x1b[31m{}\x1b[0m\n", line.trim_end()),
            false => line,
        }
    }

    fn line(&mut self, cells: &[String; 11]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&mut self.widths) {
            let own = cell.chars().count();
            *width = (*width).max(own.min(WIDEST));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(own) + 2));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn cells(request: &Value, workload: &str) -> [String; 11] {
    let text = |field: &str| request[field].as_str().filter(|text| !text.is_empty());
    let workload = text("workload").unwrap_or(workload);
    let is_inbound = request["direction"] == "inbound";
    let (from, to) = match is_inbound {
        true => (text("peer").map_or("unmeshed".into(), account), workload.to_owned()),
        false => (workload.to_owned(), text("service").unwrap_or("unknown").to_owned()),
    };
    let what = match (text("method"), text("path")) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (Some(method), None) => format!("{method} {}", text("authority").unwrap_or_default()),
        (None, _) => text("protocol").unwrap_or("-").to_owned(),
    };
    let status = match (request["status"].as_u64(), request["grpc_status"].as_u64()) {
        (Some(status), Some(grpc)) => format!("{status}/{grpc}"),
        (Some(status), None) => status.to_string(),
        (None, _) => "-".to_owned(),
    };
    let dash = |field: &str| text(field).unwrap_or("-").to_owned();
    let time = dash("time");
    let clock = time.split_once('T').map_or(time.as_str(), |(_, clock)| clock);
    let trace: String = dash("trace_id").chars().take(8).collect();
    [
        clock.trim_end_matches('Z').to_owned(),
        dash("direction"),
        from,
        to,
        what,
        status,
        dash("reason"),
        took(request["duration_ms"].as_f64().unwrap_or_default()),
        request["attempts"].as_u64().unwrap_or_default().to_string(),
        dash("endpoint"),
        trace,
    ]
    .map(|cell| cell.chars().map(printable).collect())
}

/// How much was shown, and what was not.
pub(super) fn remark(count: u64, over_rate: u64, unread: u64, rate: u32) -> String {
    let mut text = match count {
        1 => "1 request shown".to_owned(),
        count => format!("{count} requests shown"),
    };
    if over_rate > 0 {
        text += &format!(", {over_rate} more than {rate} a second left out");
    }
    if unread > 0 {
        text += &format!(", {unread} left out because they came faster than they were taken");
    }
    text
}

/// `spiffe://cluster.local/ns/shop/sa/web` → `web.shop`
fn account(peer: &str) -> String {
    let id = crate::model::SpiffeId::parse(peer);
    let of = |id: crate::model::SpiffeId| format!("{}.{}", id.service_account(), id.namespace());
    id.map_or_else(|_| peer.to_owned(), of)
}

/// In the unit that people would say it in.
fn took(millis: f64) -> String {
    match millis {
        short if short < 10.0 => format!("{short:.1}ms"),
        some if some < 1_000.0 => format!("{some:.0}ms"),
        long => format!("{:.1}s", long / 1_000.0),
    }
}

/// Callers chose these words: they must not steer a terminal.
fn printable(letter: char) -> char {
    if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }
}

fn is_failure(request: &Value) -> bool {
    let number = |field: &str| request[field].as_u64();
    let status = number("status").and_then(|status| u16::try_from(status).ok());
    let grpc = number("grpc_status").and_then(|status| u8::try_from(status).ok());
    let word = request["reason"].as_str().filter(|word| !word.is_empty());
    // A newer sidecar's reason is one all the same.
    let reason = word.map(|word| Reason::parse(word.as_bytes()).unwrap_or(Reason::Internal));
    has_failed(status.unwrap_or(0), grpc, reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> Value {
        json!({
            "time": "2026-11-22T14:01:02.123Z", "direction": "outbound", "method": "GET",
            "path": "/orders", "status": 503, "reason": "connect-failure",
            "service": "api.shop:80", "duration_ms": 12.34, "attempts": 3,
            "endpoint": "10.0.0.7:8080", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        })
    }

    #[test]
    fn a_request_is_one_aligned_line() {
        let mut lines = Lines::new(false);
        let text = lines.heading() + &lines.of(&request(), "web-1.shop");
        let text: Vec<&str> = text.lines().collect();
        assert_eq!(
            text,
            [
                concat!(
                    "TIME          DIRECTION  FROM              TO                  REQUEST  ",
                    "                         STATUS  REASON  TOOK    TRIES  ENDPOINT          TRACE"
                ),
                concat!(
                    "14:01:02.123  outbound   web-1.shop        api.shop:80         GET /orde",
                    "rs                       503     connect-failure  12ms    3      10.0.0.7:8080     4bf92f35"
                ),
            ]
        );
        let next = lines.of(&json!({"direction": "inbound", "protocol": "tcp"}), "api-1.shop");
        assert_eq!(
            next,
            concat!(
                "-             inbound    unmeshed          api-1.shop          tcp      ",
                "                         -       -                0.0ms   0      -                 -\n"
            )
        );
    }

    #[test]
    fn what_callers_chose_does_not_steer_a_terminal() {
        let mut odd = request();
        odd["path"] = "/\u{1b}[2J\n".into();
        let line = Lines::new(false).of(&odd, "web");
        assert!(!line.contains('\u{1b}') && line.matches('\n').count() == 1, "{line:?}");
        assert!(Lines::new(true).of(&request(), "web").starts_with("\u{1b}[31m"));
        let fine = json!({"status": 200});
        assert!(!Lines::new(true).of(&fine, "web").contains('\u{1b}'));
    }

    #[test]
    fn callers_go_by_their_account() {
        assert_eq!(account("spiffe://cluster.local/ns/shop/sa/web"), "web.shop");
        assert_eq!(account("other"), "other");
    }
}
