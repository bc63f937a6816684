//! Nested answers of the admin port as rows for a table: short words for people, on one line each.
//!
//! Nothing is decided or left out for programs: json and yaml show the answer as it came.

use serde_json::{Value, json};

/// An answer whose `list` has rows that a table can show.
pub(super) fn of(mut answer: Value, list: Option<&str>) -> Value {
    let rows: fn(&Value) -> Vec<Value> = match list {
        Some("routes") => routes,
        Some("policies") => policies,
        Some("endpoints") => endpoint,
        _ => return answer,
    };
    let mut inbound =
        if list == Some("policies") { inbound(&answer["inbound"]) } else { Vec::new() };
    inbound.extend(limits(&answer["limits"]));
    if let Some(items) = list.and_then(|list| answer.get_mut(list)).filter(|list| list.is_array()) {
        let all = items.as_array().map_or(&[][..], Vec::as_slice);
        *items = inbound.into_iter().chain(all.iter().flat_map(rows)).collect();
    }
    answer
}

/// One row for each rule of a service.
fn routes(of: &Value) -> Vec<Value> {
    let row = |rule: &Value| {
        json!({
            "service": of["service"],
            "rule": rule["name"],
            "kind": rule["kind"],
            "hosts": rule["hostnames"],
            "matches": joined(&rule["matches"], " or ", one_match),
            "filters": joined(&rule["filters"], ",", |filter| text(&filter["type"])),
            "backends": joined(&rule["backends"], ", ", backend),
            "timeout": rule["timeouts"]["says"]["request"],
            "retries": rule["retry"]["says"]["maxRetries"],
        })
    };
    list(&of["rules"]).iter().map(row).collect()
}

/// `GET /a* x-user=ann ?q=1`
fn one_match(of: &Value) -> String {
    let path = of.get("path").map(|path| match path["type"].as_str() {
        Some("PathPrefix") => format!("{}*", text(&path["value"])),
        Some("RegularExpression") => format!("~{}", text(&path["value"])),
        _ => text(&path["value"]),
    });
    let named = |name: &str, mark: &str| -> Vec<String> {
        let one = |of: &Value| {
            let is = if of["type"] == "RegularExpression" { "~" } else { "=" };
            format!("{mark}{}{is}{}", text(&of["name"]), text(&of["value"]))
        };
        list(&of[name]).iter().map(one).collect()
    };
    let method = of.get("method").map(text);
    let all = method.into_iter().chain(path).chain(named("headers", ""));
    all.chain(named("queryParams", "?")).collect::<Vec<_>>().join(" ")
}

fn backend(of: &Value) -> String {
    let missing = if of["exists"] == false { " (missing)" } else { "" };
    format!("{}={}{missing}", text(&of["service"]), text(&of["weight"]))
}

/// A row for what each port asks of the workload's own callers; for the rest that policies say of it
/// one each, and one for the rules of each policy.
fn inbound(of: &Value) -> Vec<Value> {
    list(of).iter().flat_map(at_port).collect()
}

/// A row for each limit of how often callers may come, and of how many at once.
fn limits(of: &Value) -> Vec<Value> {
    let row = |of: &Value, part: &str, says: String| {
        json!({
            "service": format!("callers of port {}", text(&of["port"])),
            "rule": Value::Null,
            "part": part,
            "from": format!("RateLimitPolicy {}", text(&of["policy"])),
            "says": says,
        })
    };
    let rates = list(&of["rates"]).iter().map(|of| row(of, "rate", text(&of["says"])));
    let at_once = list(&of["concurrency"]).iter().map(|of| {
        let now = &of["now"];
        let now = match now["limit"].as_u64() {
            Some(limit) => format!(", now {} of {limit}", text(&now["underWay"])),
            None => String::new(),
        };
        row(of, "at once", format!("{}{now}", text(&of["says"])))
    });
    rates.chain(at_once).collect()
}

fn at_port(at: &Value) -> Vec<Value> {
    let callers = format!("callers of port {}", text(&at["port"]));
    let row = |part: &str, from: Value, says: Value| {
        json!({
            "service": callers,
            "rule": Value::Null,
            "part": part,
            "from": from,
            "says": says,
        })
    };
    let mut rows = vec![row("mtls", at["from"].clone(), at["mtls"].clone())];
    for part in ["mode", "default", "audit"] {
        let (from, says) = (&at[part]["from"], &at[part]["says"]);
        if from.as_str().is_some_and(|from| from != "default") {
            rows.push(row(part, from.clone(), says.clone()));
        }
    }
    let by = |of: &Value| json!(format!("AccessPolicy {}", text(&of["policy"])));
    for token in list(&at["tokens"]) {
        let (issuer, verified) = (text(&token["issuer"]), &token["verifiedBy"]);
        let source = text(&verified["source"]);
        let mut says = match verified["keys"].as_u64() {
            Some(keys) => format!("{issuer}: {keys} keys of {source}"),
            None => format!("{issuer}: asked at {source}"),
        };
        if let Some(error) = verified["error"].as_str() {
            says = format!("{says} ({error})");
        }
        rows.push(row("jwt", by(token), json!(says)));
    }
    for keys in list(&at["apiKeys"]) {
        let says = format!("{} keys in {}", list(&keys["names"]).len(), text(&keys["header"]));
        rows.push(row("apiKeys", by(keys), json!(says)));
    }
    let mut rules: Vec<(String, usize)> = Vec::new();
    for rule in list(&at["rules"]) {
        let of = format!("{} {}", text(&rule["action"]), text(&rule["policy"]));
        match rules.iter_mut().find(|(known, _)| *known == of) {
            Some((_, count)) => *count += 1,
            None => rules.push((of, 1)),
        }
    }
    rows.extend(rules.into_iter().map(|(of, count)| {
        let (action, policy) = of.split_once(' ').unwrap_or_default();
        let says = format!("{count} that {action}");
        row("rules", json!(format!("AccessPolicy {policy}")), json!(says))
    }));
    rows
}

/// One row for each part that a resource says, and one for how it stands.
fn policies(of: &Value) -> Vec<Value> {
    let row = |part: &str, from: Value, says: String| json!({"service": of["service"], "rule": of["rule"], "part": part, "from": from, "says": says});
    let parts = of["parts"].as_object().into_iter().flatten();
    let said: Vec<Value> = parts
        .filter(|(_, says)| says["from"] != "default")
        .map(|(part, says)| row(part, says["from"].clone(), words(&says["says"])))
        .collect();
    let is_service = of["rule"].is_null();
    let rest = is_service.then(|| {
        let part = if said.is_empty() { "everything" } else { "everything else" };
        row(part, json!("default"), "-o yaml shows it".to_owned())
    });
    let stands = stands(&of["now"]);
    let now = (!stands.is_empty()).then(|| row("now", Value::Null, stands));
    said.into_iter().chain(rest).chain(now).collect()
}

/// What counts now, in words.
fn stands(now: &Value) -> String {
    let mut all = Vec::new();
    if let Some(budget) = now.get("retryBudget") {
        let (made, allowed) = (text(&budget["retries"]), text(&budget["allowed"]));
        all.push(format!("{made} of {allowed} retries in 10 s"));
    }
    for (name, limit) in now["limits"].as_object().into_iter().flatten() {
        all.push(format!("{name} {} of {}", text(&limit["inUse"]), text(&limit["most"])));
    }
    if now["panicking"] == true {
        all.push("panicking: circuits are ignored".to_owned());
    }
    all.join(", ")
}

/// `maxRetries=2 on=reset,5xx budget.ratio=20`
pub(super) fn words(says: &Value) -> String {
    let mut all = Vec::new();
    collect("", says, &mut all);
    all.join(" ")
}

fn collect(path: &str, says: &Value, into: &mut Vec<String>) {
    match says {
        Value::Object(fields) if !fields.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                collect(&format!("{path}{dot}{name}"), value, into);
            }
        }
        Value::Null if path.is_empty() => into.push("off".to_owned()),
        Value::Null => {}
        value if path.is_empty() => into.push(text(value)),
        value => into.push(format!("{path}={}", text(value))),
    }
}

/// A row as it came, but for what is nested in it.
fn endpoint(of: &Value) -> Vec<Value> {
    let mut row = of.clone();
    for rate in ["failureRate", "slowRate"] {
        let of = &of[rate];
        if of.is_object() {
            let percent = of["percent"].as_f64().unwrap_or_default();
            let share = format!("{percent} % ({}/{})", text(&of["bad"]), text(&of["requests"]));
            row[rate] = json!(share);
        }
    }
    if of["lastError"].is_object() {
        let (reason, ago) = (text(&of["lastError"]["reason"]), of["lastError"]["agoMs"].as_u64());
        let seconds = ago.unwrap_or_default() / 1000;
        row["lastError"] = json!(format!("{reason} {seconds}s ago"));
    }
    vec![row]
}

fn joined(of: &Value, by: &str, one: impl Fn(&Value) -> String) -> String {
    list(of).iter().map(one).collect::<Vec<_>>().join(by)
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

/// A value without quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_row() {
        let answer = json!({"routes": [{"service": "a.b:80", "rules": [{
            "name": "r.b/0", "kind": "HTTPRoute", "hostnames": ["x.y"],
            "matches": [
                {"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"},
                {"path": {"type": "Exact", "value": "/b"},
                 "headers": [{"type": "RegularExpression", "name": "x-u", "value": "a+"}],
                 "queryParams": [{"type": "Exact", "name": "q", "value": "1"}]},
            ],
            "filters": [{"type": "URLRewrite"}],
            "backends": [{"service": "a.b:80", "weight": 9, "exists": true},
                         {"service": "c.b:80", "weight": 1, "exists": false}],
            "timeouts": {"from": "default", "says": {"idle": "5m"}},
            "retry": {"from": "default", "says": {"maxRetries": 2}},
        }]}]});
        let rows = of(answer, Some("routes"));
        let row = &rows["routes"][0];
        assert_eq!(row["matches"], "GET /a* or /b x-u~a+ ?q=1");
        assert_eq!(row["backends"], "a.b:80=9, c.b:80=1 (missing)");
        assert_eq!((&row["timeout"], &row["retries"]), (&Value::Null, &json!(2)));
    }

    #[test]
    fn a_policy_is_what_resources_say_and_how_it_stands() {
        let answer = json!({"policies": [{"service": "a.b:80", "rule": null, "parts": {
            "retry": {"from": "TrafficPolicy b/p", "says": {"maxRetries": 1, "on": ["reset", "5xx"], "budget": {"ratio": 20}}},
            "hedge": {"from": "default", "says": null},
        }, "now": {"retryBudget": {"requests": 4, "retries": 1, "allowed": 100}, "panicking": true}}]});
        let rows = of(answer, Some("policies"));
        let said: Vec<(String, String)> = list(&rows["policies"])
            .iter()
            .map(|row| (text(&row["part"]), text(&row["says"])))
            .collect();
        let own = |part: &str, says: &str| (part.to_owned(), says.to_owned());
        let expected = [
            own("retry", "maxRetries=1 on=reset,5xx budget.ratio=20"),
            own("everything else", "-o yaml shows it"),
            own("now", "1 of 100 retries in 10 s, panicking: circuits are ignored"),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_holds_for_callers_comes_first() {
        let answer = json!({"policies": [], "inbound": [
            {"port": 8080, "mtls": "permissive", "from": "AccessPolicy b/p",
             "mode": {"says": "enforce", "from": "default"},
             "default": {"says": "deny", "from": "AccessPolicy b/q"},
             "rules": [{"action": "deny", "policy": "b/p"}, {"action": "deny", "policy": "b/p"}]},
            {"port": "*", "mtls": "strict", "from": "default"},
        ], "limits": {
            "rates": [{"port": 80, "policy": "b/r", "says": "5 requests in 1s in all"}],
            "concurrency": [{"port": "*", "policy": "b/r", "says": 7,
                             "now": {"limit": 7, "underWay": 3}}],
        }});
        let mut rows = of(answer, Some("policies"));
        let more: Vec<Value> = rows["policies"].as_array_mut().expect("rows").drain(1..3).collect();
        assert_eq!(
            (&more[0]["part"], &more[0]["from"]),
            (&json!("default"), &json!("AccessPolicy b/q"))
        );
        assert_eq!((&more[1]["part"], &more[1]["says"]), (&json!("rules"), &json!("2 that deny")));
        let row = &rows["policies"][0];
        assert_eq!(
            (&row["service"], &row["says"]),
            (&json!("callers of port 8080"), &json!("permissive"))
        );
        assert_eq!(rows["policies"][1]["service"], "callers of port *");
        let said: Vec<String> = (2..4).map(|nth| text(&rows["policies"][nth]["says"])).collect();
        assert_eq!(said, ["5 requests in 1s in all", "7, now 3 of 7"]);
    }

    #[test]
    fn other_answers_stay() {
        let answer = json!({"services": [{"name": "a", "x": {"y": 1}}]});
        assert_eq!(of(answer.clone(), Some("services")), answer);
        assert_eq!(of(answer.clone(), None), answer);
    }
}
