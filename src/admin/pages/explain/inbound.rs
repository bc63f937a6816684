//! What would become of a request, or of opaque bytes, that somebody sends to the workload itself.
//!
//! `/explain?port=8080&peer=…&method=…&path=…`: decided by the policy in use, and not counted. Without
//! `peer` the caller comes in plaintext; `protocol=tcp` asks about opaque bytes. A token or key in a
//! header, cookie or query is judged as if it had come, and not shown.

use std::net::SocketAddr;
use std::time::SystemTime;

use http::HeaderName;
use http::request::Parts;
use serde_json::{Value, json};

use super::query::{self, Asked};
use super::{host, is_private, text};
use crate::access::tokens::Intake;
use crate::access::{Ask, Decision, Known, Lack, Policy, Presented, Request, RuleWord, What, Why};
use crate::limit::rate;
use crate::model::{Action, Mode, SpiffeId};
use crate::telemetry::mask::masked;

/// What is asked about.
#[derive(Debug)]
pub struct Question {
    port: u16,
    peer: Option<SpiffeId>,
    is_tcp: bool,
    asked: Asked,
}

const OWN: [&str; 3] = ["port", "peer", "protocol"];

/// Whether a query is about the workload's own callers.
pub fn is_asked(query: &str) -> bool {
    query.split('&').any(|pair| pair == "port" || pair.starts_with("port="))
}

/// Reads a query.
///
/// # Errors
/// Every fault.
pub fn read(query: &str) -> Result<Question, Vec<String>> {
    let (mut port, mut peer, mut is_tcp) = (None, None, false);
    let asked = query::read_request(query, &OWN, |key, value| match key {
        "port" => value
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(|number| port = Some(number))
            .ok_or_else(|| format!("{value:?} is no port of the app")),
        "peer" => {
            SpiffeId::parse(value).map(|id| peer = Some(id)).map_err(|error| error.to_string())
        }
        _ => match value {
            "http" | "tcp" => {
                is_tcp = value == "tcp";
                Ok(())
            }
            _ => Err(format!("{value:?} is neither http nor tcp")),
        },
    })?;
    let port = port.ok_or_else(|| vec!["port: is missing; write port=8080".to_owned()])?;
    Ok(Question { port, peer, is_tcp, asked })
}

impl Question {
    /// As rate limits see it; opaque bytes they don't.
    pub fn counted(&self) -> Option<rate::Ask<'_>> {
        let Question { port, peer, is_tcp, asked } = self;
        (!is_tcp).then_some(rate::Ask {
            port: *port,
            source: asked.source,
            id: peer.as_ref(),
            claims: None,
            api_key: None,
            parts: &asked.parts,
        })
    }
}

/// What is said of a port that nothing comes to by this sidecar. One that is transparent takes what
/// comes, to whatever port.
pub fn stray(question: &Question, config: &Value) -> Option<String> {
    let inbound = &config["inbound"];
    if inbound["listen"].is_string() {
        return None;
    }
    let ports = inbound["ports"].as_array().into_iter().flatten();
    let apps = ports.filter_map(|port| port["app"].as_str()?.parse::<SocketAddr>().ok());
    let apps: Vec<u16> = apps.map(|app| app.port()).collect();
    if apps.contains(&question.port) {
        return None;
    }
    let known = match apps.is_empty() {
        true => "has no inbound port".to_owned(),
        false => format!("has {}", apps.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    let port = question.port;
    Some(format!("nothing comes to port {port} by this sidecar, which {known}: is it another's?"))
}

/// The answer.
pub fn answer(policy: &Policy, question: &Question) -> Value {
    let Question { port, peer, is_tcp, asked } = question;
    let ask = |what| Ask { port: *port, source: asked.source, id: peer.as_ref(), what };
    let mut page = json!({
        "port": port,
        "peer": peer.as_ref().map(ToString::to_string),
        "source": asked.source.to_string(),
    });
    if *is_tcp {
        page["protocol"] = json!("tcp");
        let decision = policy.decide(&ask(What::Stream { is_declared: true }));
        page["access"] = access(&decision);
        page["why"] = json!(why(policy, *port, &decision, None));
        return page;
    }
    let at = policy.at(*port);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let known = match at.intake().map(|intake| intake.present(&asked.parts, now, false)) {
        Some(Presented::Known(known)) => known,
        // Nobody waits here.
        Some(Presented::Waits(_)) | None => Known::default(),
    };
    let request = Request::of(&asked.parts, at.has_paths()).showing(&known);
    let decision = policy.decide(&ask(What::Request(&request)));
    page["protocol"] = json!("http");
    page["request"] = sent(&asked.parts, at.intake());
    page["shown"] = json!({
        "token": known.credentials.claims.is_some(),
        "apiKey": known.credentials.api_key.as_deref(),
        "fault": known.fault.map(|fault| fault.trouble.to_string()),
    });
    page["access"] = access(&decision);
    page["pathForApp"] = json!(request.shown_path());
    page["why"] = json!(why(policy, *port, &decision, Some(&request)));
    page
}

fn sent(parts: &Parts, intake: Option<&Intake>) -> Value {
    let is_secret = |name: &HeaderName| {
        is_private(name) || intake.is_some_and(|of| of.secret_headers().any(|of| of == name))
    };
    let headers = parts.headers.iter().map(|(name, value)| match is_secret(name) {
        true => format!("{name}: ***"),
        false => format!("{name}: {}", text(value)),
    });
    let uri = masked(&parts.uri, intake.map_or(&[], Intake::queries));
    json!({
        "method": parts.method.as_str(),
        "path": uri.path_and_query().map_or("*", |path| path.as_str()),
        "host": host(parts),
        "headers": headers.collect::<Vec<_>>(),
    })
}

fn access(decision: &Decision<'_>) -> Value {
    let rule = match decision.rule() {
        RuleWord::Rule(nth) => json!(nth),
        RuleWord::Text(word) => json!(word),
    };
    json!({
        "decision": decision.word(),
        "policy": decision.policy.map(|policy| &*policy.title),
        "rule": rule,
        "reason": decision.refusal().map(|reason| reason.as_str()),
        "mode": decision.mode.as_str(),
        "audited": decision.is_audited(),
    })
}

fn why(
    policy: &Policy,
    port: u16,
    decision: &Decision<'_>,
    request: Option<&Request<'_>>,
) -> Vec<String> {
    let at = policy.at(port);
    let mut why = vec![decision.to_string()];
    let count = at.rules().count();
    if matches!(decision.why, Why::Default) && count > 0 {
        why.push(format!("none of the {count} rules of port {port} holds for it"));
    }
    if decision.action == Action::Deny && decision.refusal().is_none() {
        let by = at.mode.by.as_ref().map_or("a policy", |by| &by.title);
        why.push(format!("it is only observed (AccessPolicy {by}): the decision is recorded"));
    }
    let asking: Vec<String> =
        at.asking().map(|of| format!("rules[{}] of {}", of.nth, of.policy.title)).collect();
    let way = match decision.lacks {
        Some(Lack::Token) => "a token, and none came: one that it takes would let it in",
        Some(Lack::Key) => "an API key, and none came: one that it takes would let it in",
        None => "what a token or an API key says",
    };
    if !asking.is_empty() {
        why.push(format!("{} asks for {way}", asking.join(", ")));
    }
    let Some(request) = request else {
        if at.expects_http() {
            let what = "opaque bytes come in only where the port's protocol is declared as tcp";
            why.push(format!("rules of port {port} ask for what only HTTP has: {what}"));
        }
        return why;
    };
    if let Some(path) = request.changed_path() {
        why.push(format!("rules compare its path normalised, and the app gets it so: {path}"));
    }
    if let Some(bad) = request.bad_escape {
        let what = match at.mode.says {
            Mode::Enforce => "it is refused (bad-request) where it is not denied",
            Mode::Observe => "the app gets it as it came",
        };
        why.push(format!("{bad}, so that rules can't read it: {what}"));
    }
    why
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::TrustDomain;
    use crate::resources::{Origin, Resource, parse_documents};
    use crate::telemetry::metrics::Registry;
    use crate::telemetry::traffic::TrafficMetrics;

    fn explained(spec: &str, query: &str) -> Value {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: api}}, \
             spec: {spec}}}"
        );
        let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
        let [Resource::AccessPolicy(policy)] = &read[..] else { panic!("{read:?}") };
        let metrics = TrafficMetrics::register(&Registry::default());
        let policy = Policy::of(&[Arc::clone(policy)], TrustDomain::default(), &metrics);
        answer(&policy, &super::read(query).expect(query))
    }

    const WEB: &str = "peer=spiffe://cluster.local/ns/shop/sa/web";

    #[test]
    fn a_decision_is_explained_by_policy_and_rule() {
        let spec = "{audit: denied, rules: [{action: allow}, {action: deny, to: [{paths: [/a]}]}]}";
        let page = explained(spec, &format!("port=80&{WEB}&path=/x/%252e%252e//a"));
        let access = &page["access"];
        assert_eq!((&access["decision"], &access["policy"]), (&json!("deny"), &json!("shop/api")));
        assert_eq!((&access["rule"], &access["reason"]), (&json!(1), &json!("denied")));
        assert_eq!((&page["pathForApp"], &access["audited"]), (&json!("/a"), &json!(true)));
        let why = page["why"].to_string();
        assert!(why.contains("rules[1] of AccessPolicy shop/api denies it"), "{why}");
        assert!(why.contains("the app gets it so: /a"), "{why}");
        let page = explained(spec, &format!("port=80&{WEB}"));
        assert_eq!(
            (&page["access"]["decision"], &page["access"]["rule"]),
            (&json!("allow"), &json!(0))
        );
        let page = explained(spec, &format!("port=80&{WEB}&protocol=tcp"));
        assert_eq!(page["access"]["decision"], "deny");
        assert!(page["why"].to_string().contains("only HTTP has"), "{page}");
        let page = explained(spec, "port=80");
        assert_eq!(page["access"]["reason"], "mtls-required");
        let page = explained(spec, &format!("port=80&{WEB}&path=/%25"));
        assert!(page["why"].to_string().contains("`%`"), "{page}");
    }

    #[test]
    fn what_is_observed_and_what_no_rule_holds_for_is_said_so() {
        let spec = "{mode: observe, rules: [{action: allow, from: [{ipBlocks: [10.0.0.0/8]}]}]}";
        let page = explained(spec, &format!("port=80&{WEB}&source=192.168.0.1"));
        assert_eq!(page["access"]["decision"], "would-deny");
        let why = page["why"].to_string();
        assert!(why.contains("none of the 1 rules") && why.contains("only observed"), "{why}");
        let page = explained(spec, &format!("port=80&{WEB}&source=10.1.1.1"));
        assert_eq!(page["access"]["decision"], "allow");
    }

    #[test]
    fn every_fault_of_a_question_is_named() {
        assert!(is_asked("a=b&port=1") && is_asked("port") && !is_asked("service=port:1"));
        let faults = super::read("port=0&peer=web&protocol=udp&path=x&service=a:1&header=y");
        let faults = faults.expect_err("faulty");
        let names = ["port:", "peer:", "protocol:", "path:", "service:", "header:"];
        assert_eq!(faults.len(), names.len(), "{faults:?}");
        assert!(names.iter().zip(&faults).all(|(name, fault)| fault.starts_with(name)));
        assert_eq!(super::read("port").expect_err("no number").len(), 1);
    }
}
