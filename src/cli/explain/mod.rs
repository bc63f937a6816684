//! `outrigger explain`: what a sidecar would do with a request, and why, for people to read; or what
//! a reason means.
//!
//! The sidecar decides and says so in sentences; this only writes its question, and lays out the
//! answer. A question that can't be read leaves with 2, as wrong usage does.

mod reason;

use std::process::ExitCode;

use clap::Args;
use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::ask::{self, Error, Question, Target};
use crate::cli::output::{self, Format};
use crate::cli::rows::{text, words};
use crate::cli::{FAILED, INVALID, chain, complain, emit};
use crate::model::Reason;

/// A request that is not sent.
#[derive(Args, Debug)]
pub(in crate::cli) struct Explain {
    /// The service that is asked for, as name.namespace:port, where name:port is in the sidecar's
    /// own namespace; or a reason, such as circuit-open
    #[arg(value_name = "SERVICE|REASON", required_unless_present_any = ["list", "port"])]
    service: Option<String>,
    /// List every reason
    #[arg(long, conflicts_with = "service")]
    list: bool,
    /// Whether somebody may call the sidecar's own app, at this port of it
    #[arg(long, conflicts_with_all = ["service", "list"])]
    port: Option<u16>,
    /// With --port: the SPIFFE id that the caller proves; without it the caller comes in plaintext
    #[arg(long, value_name = "ID", requires = "port")]
    peer: Option<String>,
    /// With --port: http, or tcp for opaque bytes
    #[arg(long, requires = "port")]
    protocol: Option<String>,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Its path, with the query if it has one
    #[arg(long, default_value = "/")]
    path: String,
    /// One of its headers, such as x-user:ann; may be repeated
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
    /// Its Host; else the service's name
    #[arg(long)]
    host: Option<String>,
    /// The address that it comes from; else 127.0.0.1
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Explain {
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Target { admin, output } = self.target;
        let word = match (&self.service, self.port) {
            (Some(word), _) => word,
            (None, Some(_)) => "",
            (None, None) => return reason::list(output.format),
        };
        if let Some(reason) = Reason::parse(word.as_bytes()) {
            return reason::show(reason, output.format);
        }
        // Said where the sidecar would only say that the port is missing.
        let meant =
            || (!word.is_empty() && !word.contains(':')).then(|| reason::fault(word, admin));
        match ask::asked(admin, &Question::get(self.question(), None)) {
            Ok(body) => match serde_json::from_slice::<Value>(&body) {
                Ok(answer) => emit(&show(&answer, output.format)),
                Err(_) => {
                    complain(&format!("error: {admin} does not answer like an admin port"));
                    ExitCode::from(FAILED)
                }
            },
            Err(Error::Refused { status: StatusCode::BAD_REQUEST, body, .. }) => {
                for fault in body.lines() {
                    let said = if fault.starts_with("service:") { meant() } else { None };
                    complain(&said.as_deref().unwrap_or(fault));
                }
                ExitCode::from(INVALID)
            }
            Err(error) => {
                if let Some(meant) = meant() {
                    complain(&meant);
                    return ExitCode::from(INVALID);
                }
                complain(&format!("error: {}", chain(&error)));
                ExitCode::from(FAILED)
            }
        }
    }

    fn question(&self) -> String {
        let Self { service, method, path, header, host, source, peer, protocol, .. } = self;
        let port = self.port.map(|port| port.to_string());
        let required = [("method", method), ("path", path)];
        let optional = [
            ("service", service),
            ("host", host),
            ("source", source),
            ("port", &port),
            ("peer", peer),
            ("protocol", protocol),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let headers = header.iter().map(|line| ("header", line));
        let pairs = required.into_iter().chain(optional).chain(headers);
        let pairs: Vec<String> =
            pairs.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        format!("/explain?{}", pairs.join("&"))
    }
}

/// Everything but unreserved characters and slashes as `%XX`.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn show(answer: &Value, format: Format) -> String {
    match format {
        Format::Json | Format::Yaml => output::render(answer, None, format),
        Format::Table if !answer["port"].is_null() => inbound(answer),
        Format::Table => page(answer),
    }
}

/// For a terminal: whether somebody may call the app, and why.
fn inbound(answer: &Value) -> String {
    let what = match answer["protocol"].as_str() {
        Some("tcp") => "opaque bytes".to_owned(),
        _ => line(&answer["request"]),
    };
    let (port, source) = (text(&answer["port"]), text(&answer["source"]));
    let who = match &answer["peer"] {
        Value::Null => "somebody in plaintext".to_owned(),
        peer => text(peer),
    };
    let access = &answer["access"];
    let word = match access["decision"].as_str() {
        Some("allow") => "allowed".to_owned(),
        Some("would-deny") => "would be denied, and is only observed".to_owned(),
        _ => format!("refused: {}", text(&access["reason"])),
    };
    let of = answer["workload"].as_str().map_or(String::new(), |name| format!(" of {name}"));
    let mut lines = vec![format!("{what} to port {port}{of} from {who} at {source}"), word];
    if !access["policy"].is_null() {
        let (policy, rule) = (text(&access["policy"]), text(&access["rule"]));
        lines.push(format!("policy {policy}, rule {rule}"));
    }
    lines.extend(["".to_owned(), "Why:".to_owned()]);
    lines.extend(list(&answer["why"]).iter().map(|why| format!("  - {}", text(why))));
    printable(&format!("{}\n", lines.join("\n")))
}

/// For a terminal: the outcome, what would be sent, where to, and why.
fn page(answer: &Value) -> String {
    let (request, rule) = (&answer["request"], &answer["rule"]);
    let mut lines = vec![format!(
        "{} for {} (host {})",
        line(request),
        text(&answer["service"]),
        text(&request["host"])
    )];
    if rule.is_object() {
        lines.push(match rule["kind"].as_str() {
            Some("default") | None => "no route".to_owned(),
            Some(kind) => format!("rule {} ({kind})", text(&rule["name"])),
        });
    }
    lines.push(outcome(&answer["outcome"]));
    let sent = &answer["outcome"]["sent"];
    if sent.is_object() {
        lines.extend(to_send(sent));
    }
    lines.push(String::new());
    lines.push("Why:".to_owned());
    lines.extend(list(&answer["why"]).iter().map(|why| format!("  - {}", text(why))));
    if !answer["access"].is_null() {
        lines.push(format!("  - whether it is let in there is {}", text(&answer["access"])));
    }
    printable(&format!("{}\n", lines.join("\n")))
}

fn outcome(outcome: &Value) -> String {
    if let Some(refused) = outcome.get("refused") {
        let status = match &refused["status"] {
            Value::Null => "no answer".to_owned(),
            status => text(status),
        };
        return format!(
            "refused: {status}, {}: {}",
            text(&refused["reason"]),
            text(&refused["sentence"])
        );
    }
    if let Some(answered) = outcome.get("answered") {
        let headers = answered["headers"].as_object().into_iter().flatten();
        let headers = headers.map(|(name, value)| format!("\n  {name}: {}", text(value)));
        return format!(
            "answered by the sidecar: {}{}",
            text(&answered["status"]),
            headers.collect::<String>()
        );
    }
    match outcome.get("unknown") {
        Some(unknown) => format!("unknown: {}", text(&unknown["sentence"])),
        None => "sent".to_owned(),
    }
}

/// What goes out, and to whom.
fn to_send(sent: &Value) -> Vec<String> {
    let mut lines = changed(&sent["request"]);
    for backend in list(&sent["backends"]) {
        lines.push(String::new());
        let share = text(&backend["sharePercent"]);
        lines.push(format!("{share} % to {}", text(&backend["service"])));
        if backend["request"].is_object() {
            lines.extend(changed(&backend["request"]));
        }
        if let Some(refused) = backend.get("refused").filter(|refused| refused.is_object()) {
            lines.push(format!("  refused: {}", text(&refused["sentence"])));
        }
        let endpoints: Vec<Value> = list(&backend["endpoints"]).iter().map(endpoint).collect();
        if !endpoints.is_empty() {
            let table = output::render(&json!({"e": endpoints}), Some("e"), Format::Table);
            lines.extend(table.lines().map(|row| format!("  {row}")));
        }
    }
    lines.push(String::new());
    for part in ["timeouts", "retry", "hedge", "faults", "fallback"] {
        if !sent[part].is_null() {
            lines.push(format!("{part:<9} {}", words(&brief(&sent[part]))));
        }
    }
    for mirror in list(&sent["mirrors"]) {
        let missing = if mirror["exists"] == false { ", which is not there" } else { "" };
        let (share, service) = (text(&mirror["percent"]), text(&mirror["service"]));
        lines.push(format!("mirror    {share} % to {service}{missing}"));
    }
    lines
}

/// Without what only matters once something has failed.
fn brief(part: &Value) -> Value {
    let mut brief = part.clone();
    if let Some(fields) = brief.as_object_mut() {
        for detail in ["backoff", "budget", "bodyLimit"] {
            fields.shift_remove(detail);
        }
    }
    brief
}

fn changed(request: &Value) -> Vec<String> {
    let changes = &request["headerChanges"];
    let set = changes["set"].as_object().into_iter().flatten();
    let set = set.map(|(name, value)| format!("  with {name}: {}", text(value)));
    let gone = list(&changes["removed"]).iter().map(|name| format!("  without {}", text(name)));
    let first = format!("  as {} (host {})", line(request), text(&request["host"]));
    std::iter::once(first).chain(set).chain(gone).collect()
}

fn endpoint(of: &Value) -> Value {
    json!({
        "endpoint": of["address"],
        "workload": of["workload"],
        "state": of["state"],
        "chance": format!("{} %", text(&of["chancePercent"])),
        "zone": of["zone"],
        "identity": of["identity"],
    })
}

/// `GET /a?b=c`
fn line(request: &Value) -> String {
    format!("{} {}", text(&request["method"]), text(&request["path"]))
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

/// What came from others must not steer a terminal.
fn printable(text: &str) -> String {
    let is_safe = |letter: char| letter == '\n' || !letter.is_control();
    let safe = |letter| if is_safe(letter) { letter } else { char::REPLACEMENT_CHARACTER };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_can_have_anything() {
        assert_eq!(encoded("/a b?c=d&e=%2F+ü"), "/a%20b%3Fc%3Dd%26e%3D%252F%2B%C3%BC");
        assert_eq!(encoded("x-user:ann"), "x-user:ann");
    }

    #[test]
    fn a_page_says_what_and_why() {
        let answer = json!({
            "service": "a.b:80",
            "request": {"method": "GET", "path": "/x", "host": "a.b"},
            "rule": {"name": "r.b", "kind": "HTTPRoute"},
            "outcome": {"sent": {
                "request": {"method": "GET", "path": "/y", "host": "a.b",
                    "headerChanges": {"set": {"x-a": "1"}, "removed": ["x-b"]}},
                "backends": [{"service": "c.b:80", "sharePercent": 100, "endpoints": [
                    {"address": "10.0.0.1:80", "workload": "c-1.b", "state": "ready",
                     "chancePercent": 100, "zone": null, "identity": null}]}],
                "timeouts": {"connect": "1s"}, "mirrors": [], "hedge": null,
            }},
            "why": ["because", "esc\u{1b}[31m"],
        });
        let denied = json!({
            "port": 8080, "peer": null, "source": "10.0.0.1", "protocol": "tcp",
            "access": {"decision": "deny", "reason": "denied", "policy": "a/b", "rule": 0},
            "why": ["because"],
        });
        let lines = "opaque bytes to port 8080 from somebody in plaintext at 10.0.0.1\n\
            refused: denied\npolicy a/b, rule 0\n\nWhy:\n  - because\n";
        assert_eq!(show(&denied, Format::Table), lines);
        let expected = "GET /x for a.b:80 (host a.b)\nrule r.b (HTTPRoute)\nsent\n  as GET /y (host a.b)\n  \
            with x-a: 1\n  without x-b\n\n100 % to c.b:80\n  ENDPOINT     WORKLOAD  STATE  CHANCE  ZONE  IDENTITY\n  \
            10.0.0.1:80  c-1.b     ready  100 %   -     -\n\ntimeouts  connect=1s\n\nWhy:\n  - because\n  - esc\u{fffd}[31m\n";
        assert_eq!(page(&answer), expected);
    }

    #[test]
    fn each_outcome_has_a_line() {
        let refused = json!({"refused": {"reason": "no-route", "status": 404, "sentence": "none"}});
        assert_eq!(outcome(&refused), "refused: 404, no-route: none");
        let answered = json!({"answered": {"status": 302, "headers": {"location": "/x"}}});
        assert_eq!(outcome(&answered), "answered by the sidecar: 302\n  location: /x");
        assert_eq!(outcome(&json!({"unknown": {"sentence": "not told"}})), "unknown: not told");
    }
}
