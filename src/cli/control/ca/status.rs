//! `outrigger ca status`: for eyes a table and sentences, for programs all of it.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::super::output::{Format, render};
use super::super::shown::span;
use super::calls::{Issuer, Root, Rotation, Standing};
use crate::http::answers::timestamp;

/// Enough of a fingerprint to tell a mesh's roots apart.
const DIGITS: usize = 16;

/// How the authority stands.
pub(super) fn shown(standing: &Standing, now: SystemTime, format: Format) -> String {
    if let Format::Json | Format::Yaml = format {
        return render(&whole(standing), None, format);
    }
    let left = |until: SystemTime| match until.duration_since(now) {
        Ok(left) => format!("in {}", span(left)),
        Err(_) => "ended".to_owned(),
    };
    let root = |root: &Root| {
        let since = root.since.map(|since| span(now.duration_since(since).unwrap_or_default()));
        json!({
            "root": cut(&root.fingerprint),
            "subject": root.subject,
            "ends": left(root.not_after),
            "trusted": since.map_or_else(|| "always".to_owned(), |since| format!("for {since}")),
            "signs": if root.signs { "yes" } else { "no" },
        })
    };
    let roots: Vec<Value> = standing.roots.iter().map(root).collect();
    let mut text = render(&json!({ "roots": roots }), Some("roots"), format);
    text += &issuer(&standing.issuer, &left);
    if let Some(rotation) = &standing.rotation {
        text += &under_way(rotation, now);
    }
    for warning in &standing.warnings {
        let _ = writeln!(text, "\n! {warning}");
    }
    text
}

fn cut(fingerprint: &str) -> &str {
    fingerprint.get(..DIGITS).unwrap_or(fingerprint)
}

fn issuer(of: &Issuer, left: &dyn Fn(SystemTime) -> String) -> String {
    let by = match of.origin.as_str() {
        "files" => "followed from its files".to_owned(),
        "imported" => "replaced by whoever made it (outrigger ca import)".to_owned(),
        _ => of.renews.map_or_else(
            || "not replaced: the root's key is not here".to_owned(),
            |at| format!("replaced by itself {}", left(at)),
        ),
    };
    let Issuer { fingerprint, subject, not_after, .. } = of;
    format!("\nissuer {} ({subject}) ends {}; {by}\n", cut(fingerprint), left(*not_after))
}

fn under_way(of: &Rotation, now: SystemTime) -> String {
    let ago = |at: SystemTime| span(now.duration_since(at).unwrap_or_default());
    let mut text = format!(
        "\nroot {} is being replaced by {}: {} for {}, begun {} ago\n",
        cut(&of.from),
        cut(&of.to),
        of.phase,
        ago(of.since),
        ago(of.began),
    );
    let Rotation { sidecars, old_certificates, more, waits_for, next, .. } = of;
    let _ = writeln!(
        text,
        "{old_certificates} of {sidecars} connected sidecars show a certificate below the old root"
    );
    if waits_for.is_empty() {
        text += "nothing is waited for any more\n";
    } else {
        text += "it waits:\n";
    }
    for wait in waits_for {
        let _ = writeln!(text, "  - {wait}");
    }
    if *more > 0 {
        let _ = writeln!(text, "  - and {more} more");
    }
    let _ = writeln!(text, "{next}");
    text
}

fn whole(standing: &Standing) -> Value {
    let Standing { trust_domain, generation, roots, issuer, warnings, .. } = standing;
    let root = |root: &Root| {
        json!({
            "fingerprint": root.fingerprint,
            "subject": root.subject,
            "notAfter": timestamp(root.not_after),
            "trustedSince": root.since.map(timestamp),
            "signs": root.signs,
        })
    };
    let under_way = |of: &Rotation| {
        json!({
            "phase": of.phase,
            "from": of.from,
            "to": of.to,
            "began": timestamp(of.began),
            "since": timestamp(of.since),
            "oldCertificatesEnd": of.old_certificates_end.map(timestamp),
            "waitsFor": of.waits_for,
            "more": of.more,
            "sidecars": of.sidecars,
            "oldCertificates": of.old_certificates,
            "next": of.next,
        })
    };
    json!({
        "trustDomain": trust_domain,
        "generation": generation,
        "roots": roots.iter().map(root).collect::<Vec<_>>(),
        "issuer": {
            "fingerprint": issuer.fingerprint,
            "subject": issuer.subject,
            "notAfter": timestamp(issuer.not_after),
            "renewed": issuer.renews.map(timestamp),
            "origin": issuer.origin,
        },
        "rotation": standing.rotation.as_ref().map(under_way),
        "warnings": warnings,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn standing() -> Standing {
        let root = |digit: &str, since, signs| Root {
            fingerprint: digit.repeat(64),
            subject: format!("CN={digit}"),
            not_after: at(1_000_000),
            since,
            signs,
        };
        Standing {
            trust_domain: "cluster.local".into(),
            generation: 2,
            roots: vec![root("a", None, true), root("b", Some(at(800)), false)],
            issuer: Issuer {
                fingerprint: "c".repeat(64),
                subject: "CN=c".into(),
                not_after: at(8_200),
                renews: Some(at(4_600)),
                origin: "own".into(),
            },
            rotation: Some(Rotation {
                phase: "distribute".into(),
                from: "a".repeat(64),
                to: "b".repeat(64),
                began: at(800),
                since: at(900),
                old_certificates_end: None,
                waits_for: vec!["web-1.shop has not said".into()],
                more: 3,
                sidecars: 20,
                old_certificates: 20,
                next: "then it is used".into(),
            }),
            warnings: vec!["look".into()],
        }
    }

    #[test]
    fn a_person_sees_who_is_waited_for_and_what_comes() {
        let text = shown(&standing(), at(1_000), Format::Table);
        assert_eq!(
            text,
            "ROOT              SUBJECT  ENDS    TRUSTED  SIGNS\n\
             aaaaaaaaaaaaaaaa  CN=a     in 11d  always   yes\n\
             bbbbbbbbbbbbbbbb  CN=b     in 11d  for 3m   no\n\
             \n\
             issuer cccccccccccccccc (CN=c) ends in 2h; replaced by itself in 60m\n\
             \n\
             root aaaaaaaaaaaaaaaa is being replaced by bbbbbbbbbbbbbbbb: distribute for 100s, begun \
             3m ago\n\
             20 of 20 connected sidecars show a certificate below the old root\n\
             it waits:\n\
             \u{20} - web-1.shop has not said\n\
             \u{20} - and 3 more\n\
             then it is used\n\
             \n\
             ! look\n"
        );
    }

    #[test]
    fn a_program_sees_all_of_it() {
        let text = shown(&standing(), at(1_000), Format::Json);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["rotation"]["waitsFor"][0], "web-1.shop has not said");
        assert_eq!(value["roots"][1]["fingerprint"], "b".repeat(64));
        assert_eq!(value["issuer"]["renewed"], "1970-01-01T01:16:40Z");
        let quiet = Standing { rotation: None, ..standing() };
        let value: Value = serde_json::from_str(&shown(&quiet, at(0), Format::Json)).expect("JSON");
        assert!(value["rotation"].is_null(), "{value}");
    }
}
