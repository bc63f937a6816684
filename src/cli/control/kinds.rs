//! Kinds as people type them: in any letter case, singular or plural.

use crate::resources::{kinds, nearest};

/// One kind, or `None` for `all`.
///
/// # Errors
/// A sentence for the command line.
pub(super) fn kind_or_all(text: &str) -> Result<Wanted, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Wanted(None));
    }
    one_kind(text).map(|kind| Wanted(Some(kind)))
}

/// What is asked for; `None`: every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted(pub(super) Option<&'static str>);

/// What people type all day.
const SHORT: &[(&str, &str)] = &[
    ("svc", "Service"),
    ("tp", "TrafficPolicy"),
    ("ap", "AccessPolicy"),
    ("rlp", "RateLimitPolicy"),
];

/// A kind, as manifests write it.
///
/// # Errors
/// A sentence for the command line.
pub(super) fn one_kind(text: &str) -> Result<&'static str, String> {
    let word = text.to_ascii_lowercase();
    let means = |kind: &&str| {
        let name = kind.to_ascii_lowercase();
        word == plural(&name) || word == name || SHORT.contains(&(word.as_str(), kind))
    };
    kinds().find(means).ok_or_else(|| unknown(&word))
}

fn unknown(word: &str) -> String {
    let known: Vec<String> = kinds().map(|kind| plural(&kind.to_ascii_lowercase())).collect();
    match nearest(word, known.iter().map(String::as_str)) {
        Some(near) => format!("there is no such kind; did you mean `{near}`?"),
        None => format!("there is no such kind; known are {}", known.join(", ")),
    }
}

fn plural(name: &str) -> String {
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_number_do_not_matter() {
        let rows = [
            ("service", Some("Service")),
            ("Services", Some("Service")),
            ("svc", Some("Service")),
            ("WORKLOADS", Some("Workload")),
            ("httproutes", Some("HTTPRoute")),
            ("GRPCRoute", Some("GRPCRoute")),
            ("trafficpolicies", Some("TrafficPolicy")),
            ("TP", Some("TrafficPolicy")),
            ("ap", Some("AccessPolicy")),
            ("accesspolicies", Some("AccessPolicy")),
            ("AccessPolicy", Some("AccessPolicy")),
            ("rlp", Some("RateLimitPolicy")),
            ("ratelimitpolicies", Some("RateLimitPolicy")),
            ("accesspolicys", None),
            ("all", None),
            ("", None),
        ];
        for (text, kind) in rows {
            assert_eq!(one_kind(text).ok(), kind, "{text}");
        }
        assert_eq!(kind_or_all("All"), Ok(Wanted(None)));
        assert_eq!(kind_or_all("svc"), Ok(Wanted(Some("Service"))));
    }

    #[test]
    fn a_typo_is_answered_with_what_was_meant() {
        let rows = [("servces", "did you mean `services`"), ("colours", "known are services, ")];
        for (text, part) in rows {
            let message = one_kind(text).expect_err("unknown");
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
