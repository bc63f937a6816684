//! A trace as people read it: who called whom, one below the other, and when.
//!
//! A line for each part, with a bar in the time of the whole; below it why it failed, and its attempts
//! if there were several. Texts come from sidecars and their callers: nothing in them steers a
//! terminal.

use serde_json::Value;

use super::{millis, moment};

/// Letters of the time of the whole.
const BAR: u64 = 32;

/// One line of it.
struct Line {
    what: String,
    status: String,
    from_us: u64,
    took_us: u64,
}

pub(super) fn waterfall(trace: &Value) -> String {
    let spans = trace["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |of: &Value, field: &str| clean(of[field].as_str().unwrap_or_default());
    let ended = |span: &Value| number(span, "offsetUs").saturating_add(number(span, "durationUs"));
    let total_us = spans.iter().map(ended);
    let total_us = total_us.max().unwrap_or_default().max(1);
    let lines: Vec<(Line, &Value)> = spans.iter().map(|span| (line(span), span)).collect();
    let tries = |span: &Value| span["attempts"].as_array().filter(|all| all.len() > 1).cloned();
    let widest = |of: fn(&Line) -> &str, rows: &[&Line]| {
        rows.iter().map(|line| of(line).chars().count()).max().unwrap_or_default()
    };
    let attempts: Vec<Vec<Line>> = spans
        .iter()
        .map(|span| {
            let depth = number(span, "depth");
            tries(span).iter().flatten().map(|of| attempt(of, depth)).collect()
        })
        .collect();
    let rows: Vec<&Line> =
        lines.iter().map(|(line, _)| line).chain(attempts.iter().flatten()).collect();
    let what = widest(|line| &line.what, &rows);
    let status = widest(|line| &line.status, &rows);
    let mut out = format!(
        "{}  {}  {}  {}\n\n",
        text(trace, "traceId"),
        moment(trace["startedMs"].as_i64().unwrap_or_default()).unwrap_or_default(),
        text(trace, "service"),
        millis(trace["durationMs"].as_f64()).unwrap_or_default(),
    );
    for ((line, span), attempts) in lines.iter().zip(&attempts) {
        out += &line.drawn(what, status, total_us);
        for attempt in attempts {
            out += &attempt.drawn(what, status, total_us);
        }
        if span["failed"] == true {
            let why = [text(span, "reason"), text(span, "sentence")];
            let why: Vec<&str> = why.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
            if !why.is_empty() {
                out += &format!("{}✗ {}\n", indent(number(span, "depth") + 1), why.join(": "));
            }
        }
    }
    out
}

fn line(span: &Value) -> Line {
    let text = |field: &str| clean(span[field].as_str().unwrap_or_default());
    let who = match (text("direction").as_str(), text("service").as_str()) {
        ("inbound", _) => format!("→ {} ({})", text("serviceOf"), text("workload")),
        (_, "") => text("serviceOf"),
        (_, service) => format!("{} calls {service}", text("serviceOf")),
    };
    let status = match (span["grpcStatus"].as_u64(), span["status"].as_u64()) {
        (Some(grpc), _) => format!("grpc {grpc}"),
        (None, Some(status)) => status.to_string(),
        (None, None) => "-".to_owned(),
    };
    Line {
        what: format!("{}{who}  {}", indent(number(span, "depth")), text("name")),
        status,
        from_us: number(span, "offsetUs"),
        took_us: number(span, "durationUs"),
    }
}

fn attempt(of: &Value, depth: u64) -> Line {
    let text = |field: &str| clean(of[field].as_str().unwrap_or_default());
    let status = of["status"].as_u64().map(|status| status.to_string());
    let what = format!("{}try {}  {}", indent(depth + 1), text("endpoint"), text("reason"));
    Line {
        what: what.trim_end().to_owned(),
        status: status.unwrap_or_else(|| "-".to_owned()),
        from_us: number(of, "offsetUs"),
        took_us: number(of, "durationUs"),
    }
}

impl Line {
    fn drawn(&self, what: usize, status: usize, total_us: u64) -> String {
        let at = |us: u64| {
            u64::try_from(u128::from(us.min(total_us)) * u128::from(BAR) / u128::from(total_us))
        };
        let begin = at(self.from_us).unwrap_or(BAR).min(BAR - 1);
        let end = at(self.from_us.saturating_add(self.took_us)).unwrap_or(BAR).max(begin + 1);
        let bar: String =
            (0..BAR).map(|letter| if (begin..end).contains(&letter) { '█' } else { '·' }).collect();
        let took = millis(Some(self.took_us as f64 / 1000.0)).unwrap_or_default();
        format!("{:<what$}  {:>status$}  {bar}  {took}\n", self.what, self.status)
    }
}

/// Deep ones would leave the screen.
fn indent(depth: u64) -> String {
    "  ".repeat(usize::try_from(depth.min(16)).unwrap_or_default())
}

fn number(of: &Value, field: &str) -> u64 {
    of[field].as_u64().unwrap_or_default()
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trace_reads_from_top_to_bottom() {
        let part = |depth: u64, inbound: bool, who: &str, offset: u64, took: u64| {
            json!({"depth": depth, "direction": if inbound { "inbound" } else { "outbound" },
                   "workload": format!("{who}-1.shop"), "serviceOf": format!("{who}.shop"),
                   "service": if inbound { Value::Null } else { "api.shop:80".into() },
                   "name": "GET /orders", "offsetUs": offset, "durationUs": took, "status": 200,
                   "failed": false, "attempts": []})
        };
        let mut call = part(0, false, "web", 0, 16_000);
        (call["status"], call["failed"]) = (503.into(), true.into());
        (call["reason"], call["sentence"]) =
            ("connect-failure".into(), "nobody\u{1b}[31m is there".into());
        call["attempts"] = json!([
            {"endpoint": "10.0.0.1:80", "offsetUs": 0, "durationUs": 4_000, "reason": "reset"},
            {"endpoint": "10.0.0.2:80", "offsetUs": 8_000, "durationUs": 8_000, "status": 503},
        ]);
        let trace = json!({
            "traceId": "0".repeat(32), "startedMs": 0, "service": "web.shop", "durationMs": 16.0,
            "spans": [call, part(1, true, "api", 8_000, 4_000)],
        });
        assert_eq!(
            waterfall(&trace),
            "00000000000000000000000000000000  00:00:00.000Z  web.shop  16ms\n\
             \n\
             web.shop calls api.shop:80  GET /orders  503  ████████████████████████████████  16ms\n\
             \x20 try 10.0.0.1:80  reset                   -  ████████························  4.0ms\n\
             \x20 try 10.0.0.2:80                        503  ················████████████████  8.0ms\n\
             \x20 ✗ connect-failure: nobody\u{fffd}[31m is there\n\
             \x20 → api.shop (api-1.shop)  GET /orders   200  ················████████········  4.0ms\n"
        );
    }
}
