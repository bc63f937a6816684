//! What each reason means and what to do about it, for pages, terminals and the documentation: the
//! table of answers beside the advice, in one shape for all of them.
//!
//! Both admin ports answer `/reasons` from here, `outrigger explain` prints it without asking
//! anybody, and a test holds the documentation against it.

use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{self, Answer};
use super::respond::{Failure, grpc_code, status};
use crate::model::{GrpcCodes, Reason};

/// What a person needs to know about a reason.
pub fn page(reason: Reason) -> Value {
    let advice = reason.advice();
    let (http, grpc) = codes(reason);
    let counted = format!("outrigger_requests_total{{reason=\"{reason}\"}}");
    let metrics: Vec<&str> =
        std::iter::once(&*counted).chain(advice.metrics.iter().copied()).collect();
    json!({
        "reason": reason.as_str(),
        "http": http,
        "grpc": grpc,
        "sentence": Failure::plain(reason).sentence(),
        "happened": advice.happened,
        "look": advice.look,
        "change": advice.change,
        "settings": advice.settings,
        "metrics": metrics,
    })
}

/// Every reason, without the advice.
pub fn list() -> Value {
    let row = |&reason: &Reason| {
        let (http, grpc) = codes(reason);
        json!({
            "reason": reason.as_str(),
            "http": http,
            "grpc": grpc,
            "sentence": Failure::plain(reason).sentence(),
        })
    };
    json!({"reasons": Reason::ALL.iter().map(row).collect::<Vec<_>>()})
}

/// `/reasons` and `/reasons/circuit-open`: `word` is what stands behind the slash, if anything
/// does. `hint` may say what an unknown word was meant to be.
pub fn answer(word: &str, hint: impl FnOnce(&str) -> String) -> Answer {
    if word.is_empty() {
        return answers::json(&list());
    }
    match Reason::parse(word.as_bytes()) {
        Some(reason) => answers::json(&page(reason)),
        None => {
            let text = format!("{word:?} is no reason{}; /reasons lists them\n", hint(word));
            answers::text(StatusCode::NOT_FOUND, text)
        }
    }
}

/// What stands behind `/reasons`, if a path begins so.
pub fn word(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/reasons")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Every word, for suggestions.
pub fn words() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.as_str())
}

/// The HTTP status and the gRPC code that a caller sees, or what it sees instead.
fn codes(reason: Reason) -> (String, &'static str) {
    use Reason::{
        ClientClosed, DrainDeadline, FaultInjected, Flood, IdleTimeout, PermissionWithdrawn,
        Revoked, TlsHandshakeFailed,
    };
    match reason {
        IdleTimeout | TlsHandshakeFailed | PermissionWithdrawn | Revoked | Flood
        | DrainDeadline => ("close".to_owned(), "–"),
        ClientClosed => ("log only".to_owned(), "–"),
        FaultInjected => ("as set".to_owned(), "as set"),
        _ => {
            let code = GrpcCodes::NAMES.get(usize::from(grpc_code(reason))).copied();
            (status(reason).to_string(), code.unwrap_or("–"))
        }
    }
}

/// The table of the README.
#[cfg(test)]
fn table() -> String {
    let mut text = "| reason | HTTP | gRPC | the caller reads |\n|---|---|---|---|\n".to_owned();
    for &reason in Reason::ALL {
        let (http, grpc) = codes(reason);
        let sentence = Failure::plain(reason).sentence().to_owned();
        text += &format!("| [`{reason}`](deploy/observability/reasons.md#{reason}) ");
        text += &format!("| {http} | {grpc} | {sentence} |\n");
    }
    text
}

/// The page of all advice.
#[cfg(test)]
fn document() -> String {
    let mut text = "# Reasons\n\n\
         Every answer or close that a sidecar makes itself has one of these: in \
         `x-outrigger-reason`, the metric label `reason`, the access log and the span. \
         `outrigger explain REASON` prints an entry, and both admin ports answer `/reasons/REASON`. \
         This page is made from the program's own table.\n"
        .to_owned();
    let list = |words: &[Value]| {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        words.collect::<Vec<_>>().join(", ")
    };
    for &reason in Reason::ALL {
        let page = page(reason);
        let of = |name: &str| page[name].as_str().unwrap_or_default().to_owned();
        let (http, grpc) = (of("http"), of("grpc"));
        text += &format!("\n## {reason}\n\nHTTP {http}, gRPC {grpc}: {}.\n\n", of("sentence"));
        text += &format!("- **What happened.** {}\n", of("happened"));
        text += &format!("- **Where to look.** {}\n", of("look"));
        text += &format!("- **What to change.** {}\n", of("change"));
        let settings = page["settings"].as_array().map_or(&[][..], Vec::as_slice);
        if !settings.is_empty() {
            text += &format!("- **Settings.** {}\n", list(settings));
        }
        let metrics = page["metrics"].as_array().map_or(&[][..], Vec::as_slice);
        text += &format!("- **Metrics.** {}\n", list(metrics));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn paths_name_a_reason_all_or_nothing() {
        assert_eq!(word("/reasons"), Some(""));
        assert_eq!(word("/reasons/"), Some(""));
        assert_eq!(word("/reasons/circuit-open"), Some("circuit-open"));
        assert_eq!(word("/reasonsx"), None);
        assert_eq!(word("/ready"), None);
        let hint = |_: &str| "; a hint".to_owned();
        assert_eq!(answer("", hint).status(), StatusCode::OK);
        assert_eq!(answer("circuit-open", hint).status(), StatusCode::OK);
        assert_eq!(answer("circuit", hint).status(), StatusCode::NOT_FOUND);
    }

    /// What is kept in a file must be what the program says. Where it isn't, what it should be is
    /// written below `target`, to be looked at and copied.
    fn is_kept(name: &str, kept: &str, made: &str) -> bool {
        if kept != made {
            let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(name);
            fs::write(&to, made).expect("target is writable");
            eprintln!("not as the program says: see {}", to.display());
        }
        kept == made
    }

    #[test]
    fn the_documentation_says_the_same() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let readme = read("README.md");
        let (from, to) = ("<!-- reasons -->\n", "<!-- /reasons -->");
        let kept = readme.split_once(from).and_then(|(_, rest)| rest.split_once(to));
        let kept = kept.map_or("", |(kept, _)| kept);
        let same = [
            is_kept("reasons-table.md", kept, &table()),
            is_kept("reasons.md", &read("deploy/observability/reasons.md"), &document()),
        ];
        assert_eq!(same, [true; 2], "README.md, reasons.md");
    }
}
