//! The meaning of policies, told once more: straight from the page, from their JSON, with no part of
//! what it checks. Slow, and meant to be.

use std::net::IpAddr;

use regex::Regex;
use serde_json::Value;

/// A policy that is about the workload: namespace, name, spec.
pub type Told = (String, String, Value);

/// A question, in plain texts.
#[derive(Clone, Debug)]
pub struct Question {
    pub port: u16,
    pub source: IpAddr,
    /// Namespace and account, of the trust domain `cluster.local`.
    pub caller: Option<(String, String)>,
    pub http: Option<Http>,
    /// Opaque bytes on a port that is said to carry such.
    pub is_declared: bool,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub method: String,
    pub path: String,
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
}

/// `allow`, `deny` or `would-deny`.
pub fn verdict(policies: &[Told], question: &Question) -> &'static str {
    let about: Vec<&Told> = policies.iter().filter(|told| is_about(told, question.port)).collect();
    let strict = word(&about, "mtls", &["strict", "permissive"]).unwrap_or("strict") == "strict";
    if question.caller.is_none() && strict {
        return "deny";
    }
    let observes = word(&about, "mode", &["enforce", "observe"]) == Some("observe");
    let rules: Vec<&Value> = about.iter().flat_map(|(_, _, spec)| items(&spec["rules"])).collect();
    let with = |action: &str| {
        rules.iter().filter(|rule| rule["action"] == action).copied().collect::<Vec<_>>()
    };
    let is_http_only = |rule: &&&Value| {
        let fields = ["methods", "paths", "hosts", "headers", "claims", "apiKeys"];
        let entries = items(&rule["from"]).chain(items(&rule["to"]));
        entries.into_iter().any(|entry| fields.iter().any(|field| says(&entry[*field])))
    };
    let is_unheard = !observes && question.http.is_none() && !question.is_declared;
    let denied = is_unheard && rules.iter().any(|rule| is_http_only(&rule))
        || with("deny").iter().any(|rule| holds(rule, question, true));
    let allowed = || with("allow").iter().any(|rule| holds(rule, question, false));
    let by_default = || match word(&about, "default", &["deny", "allow"]) {
        Some(default) => default == "deny",
        None => !with("allow").is_empty(),
    };
    let denied = denied || !allowed() && by_default();
    match (denied, observes) {
        (false, _) => "allow",
        (true, false) => "deny",
        (true, true) => "would-deny",
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn says(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        other => !other.is_null(),
    }
}

fn is_about((_, _, spec): &Told, port: u16) -> bool {
    !says(&spec["ports"]) || items(&spec["ports"]).any(|of| of.as_u64() == Some(u64::from(port)))
}

/// What the nearest policies say that say anything: of their words the first of `stricter`.
fn word<'a>(about: &[&'a Told], field: &str, stricter: &[&str]) -> Option<&'a str> {
    let level = |(namespace, _, spec): &Told| {
        if says(&spec["ports"]) {
            0
        } else if says(&spec["selector"]) {
            1
        } else if namespace == "outrigger-system" {
            3
        } else {
            2
        }
    };
    for wanted in 0..4 {
        let said: Vec<&str> = about
            .iter()
            .filter(|told| level(told) == wanted)
            .filter_map(|(_, _, spec)| spec[field].as_str())
            .collect();
        let found = stricter.iter().find_map(|word| said.iter().find(|said| *said == word));
        if let Some(found) = found {
            return Some(found);
        }
    }
    None
}

fn holds(rule: &Value, question: &Question, denies: bool) -> bool {
    let from: Vec<&Value> = items(&rule["from"]).collect();
    let to: Vec<&Value> = items(&rule["to"]).collect();
    (from.is_empty() || from.iter().any(|entry| is_from(entry, question, denies)))
        && (to.is_empty() || to.iter().any(|entry| is_to(entry, question, denies)))
}

fn is_from(entry: &Value, question: &Question, denies: bool) -> bool {
    let any = |field: &str, test: &dyn Fn(&str) -> bool| {
        !says(&entry[field]) || items(&entry[field]).filter_map(Value::as_str).any(test)
    };
    let id =
        question.caller.as_ref().map(|(of, sa)| format!("spiffe://cluster.local/ns/{of}/sa/{sa}"));
    let tokens = says(&entry["claims"]) || says(&entry["apiKeys"]);
    any("identities", &|wanted| id.as_deref().is_some_and(|id| wanted == "*" || wanted == id))
        && any("namespaces", &|wanted| question.caller.as_ref().is_some_and(|(of, _)| of == wanted))
        && any("ipBlocks", &|block| is_in(question.source, block))
        && (!tokens || denies)
}

/// Bit by bit.
fn is_in(address: IpAddr, block: &str) -> bool {
    let (base, length) = block.split_once('/').map_or((block, None), |(b, l)| (b, Some(l)));
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(four) => four.octets().to_vec(),
            IpAddr::V6(six) => six.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
    };
    let (own, base) = (bits(address), bits(base.parse().expect("an address")));
    let length = length.map_or(base.len(), |length| length.parse().expect("a length"));
    own.len() == base.len() && own[..length] == base[..length]
}

fn is_to(entry: &Value, question: &Question, denies: bool) -> bool {
    let asks = ["methods", "paths", "hosts", "headers"].iter().any(|field| says(&entry[*field]));
    let Some(http) = &question.http else { return !asks || denies };
    let any = |field: &str, test: &dyn Fn(&str) -> bool| {
        !says(&entry[field]) || items(&entry[field]).filter_map(Value::as_str).any(test)
    };
    let readings = readings(&http.path, denies);
    any("methods", &|method| {
        method == http.method || denies && method.to_lowercase() == http.method.to_lowercase()
    }) && any("paths", &|pattern| match &readings {
        Some(paths) => {
            let form = regex_of(pattern, denies);
            paths.iter().any(|path| form.is_match(path))
        }
        None => denies,
    }) && any("hosts", &|wanted| match &http.host {
        Some(host) => is_host(host, wanted),
        None => denies,
    }) && entry["headers"].as_object().into_iter().flatten().all(|(name, wanted)| {
        let lines: Vec<&str> = http
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        let one = [wanted.clone()];
        let wanted = wanted.as_array().map_or(&one[..], Vec::as_slice);
        let fits = |value: &str| wanted.iter().any(|of| is_value(value, of));
        match denies {
            true => lines.iter().any(|line| fits(line) || line.split(',').any(|l| fits(l.trim()))),
            false => !lines.is_empty() && lines.iter().all(|line| fits(line)),
        }
    })
}

fn is_value(value: &str, wanted: &Value) -> bool {
    let wanted = wanted.as_str().expect("a text");
    let pattern = regex::escape(wanted).replace("\\*", ".*");
    Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern").is_match(value)
}

fn is_host(host: &str, wanted: &str) -> bool {
    let host = host.to_lowercase();
    let host = Regex::new(":[0-9]*$").expect("a pattern").replace(&host, "").into_owned();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match wanted.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == wanted,
    }
}

fn regex_of(pattern: &str, denies: bool) -> Regex {
    let each = pattern.split('/').map(|segment| match segment {
        "*" => ".*".to_owned(),
        _ if segment.starts_with('{') => "[^/]+".to_owned(),
        text if denies => regex::escape(&unescaped(text)),
        text => regex::escape(text),
    });
    let all: Vec<String> = each.collect();
    Regex::new(&format!("^{}$", all.join("/"))).expect("a pattern")
}

/// The path as rules read it: for one who is denied in every way that a server might. `None`: there
/// is none, or it can't be read.
fn readings(sent: &str, denies: bool) -> Option<Vec<String>> {
    let sent = sent.split('?').next().unwrap_or_default();
    let is_broken = Regex::new("%([^0-9A-Fa-f]|.?$|.[^0-9A-Fa-f])").expect("a pattern");
    if !sent.starts_with('/') || is_broken.is_match(sent) {
        return None;
    }
    let escape = Regex::new("%[0-9A-Fa-f]{2}").expect("a pattern");
    let plain = escape.replace_all(sent, |found: &regex::Captures<'_>| {
        let byte = u8::from_str_radix(&found[0][1..], 16).expect("two digits");
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => found[0].to_uppercase(),
        }
    });
    let normal = resolved(&plain);
    let mut all = vec![normal.clone()];
    if denies {
        let parameters = Regex::new(";[^/]*").expect("a pattern");
        let cut = |path: &String| match path.contains(';') {
            true => vec![path.clone(), parameters.replace_all(path, "").into_owned()],
            false => vec![path.clone()],
        };
        let forward = |path: &String| vec![path.clone(), path.replace("%2F", "/")];
        let back = |path: &String| vec![path.clone(), path.replace("%5C", "/").replace('\\', "/")];
        let all_of = |paths: Vec<String>, then: &dyn Fn(&String) -> Vec<String>| {
            paths.iter().flat_map(then).collect::<Vec<String>>()
        };
        let sliced = all_of(all_of(vec![normal], &forward), &back);
        let read = all_of(all_of(sliced, &cut), &|path| vec![unescaped(path)]);
        all.extend(all_of(all_of(read, &cut), &|path| vec![path.clone(), resolved(path)]));
        all.sort_unstable();
        all.dedup();
    }
    Some(all)
}

/// Escapes as what they stand for, where that is visible and makes no other path.
fn unescaped(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    let escape = Regex::new("%[0-9A-F]{2}").expect("a pattern");
    let read = escape.replace_all(path, |found: &regex::Captures<'_>| {
        let byte = u8::from_str_radix(&found[0][1..], 16).expect("two digits");
        match byte {
            b'/' | b'\\' | b'%' => found[0].to_owned(),
            _ if byte.is_ascii_graphic() => char::from(byte).to_string(),
            _ => found[0].to_owned(),
        }
    });
    read.into_owned()
}

/// RFC 3986, 5.2.4, step by step; then repeated slashes made one.
fn resolved(path: &str) -> String {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        if input.starts_with("/./") {
            input = input[2..].to_owned();
        } else if input == "/." {
            input = "/".to_owned();
        } else if input.starts_with("/../") || input == "/.." {
            input = if input == "/.." { "/".to_owned() } else { input[3..].to_owned() };
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.push_str(&input[..end]);
            input = input[end..].to_owned();
        }
    }
    while output.contains("//") {
        output = output.replace("//", "/");
    }
    output
}
