//! `outrigger explain circuit-open`: what a reason means and what to do about it, out of the
//! program's own table. Nobody is asked, so that it works at night on a laptop; only for a word that
//! is neither a reason nor a service is the sidecar asked which services it knows.

use std::net::SocketAddr;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::ask::{self, Question};
use crate::cli::emit;
use crate::cli::output::{self, Format};
use crate::http::reasons;
use crate::model::Reason;
use crate::resources::nearest;

/// Where lines are broken.
const WIDTH: usize = 96;

/// Every reason.
pub(super) fn list(format: Format) -> ExitCode {
    emit(&output::render(&reasons::list(), Some("reasons"), format))
}

/// One reason.
pub(super) fn show(reason: Reason, format: Format) -> ExitCode {
    let page = reasons::page(reason);
    emit(&match format {
        Format::Table => text(&page),
        format => output::render(&page, None, format),
    })
}

/// What is wrong with a word that is no reason, and without a port no service either.
pub(super) fn fault(word: &str, admin: SocketAddr) -> String {
    let services = || ask::asked(admin, &Question::get("/services".into(), None)).ok();
    let near = nearest(word, reasons::words()).map(str::to_owned);
    let near = near.or_else(|| service_like(word, &services()?));
    let hint = near.map_or("; `outrigger explain --list` lists the reasons".to_owned(), |near| {
        format!("; did you mean `{near}`?")
    });
    format!(
        "service: {word:?} is no reason, and a service is written with its port, as \
         name.namespace:port{hint}"
    )
}

/// The service whose name a bare word is, or nearly is.
fn service_like(word: &str, answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let all = answer["services"].as_array()?.iter().filter_map(|service| service["name"].as_str());
    // `orders` of `orders.shop:80`, or as much of it as the word says.
    let dots = word.matches('.').count();
    let short = |name: &'_ str| {
        let host = name.rsplit_once(':').map_or(name, |(host, _)| host).to_owned();
        host.split('.').take(dots + 1).collect::<Vec<_>>().join(".")
    };
    let all: Vec<(String, &str)> = all.map(|name| (short(name), name)).collect();
    let near = nearest(word, all.iter().map(|(short, _)| short.as_str()))?;
    all.iter().find(|(short, _)| short == near).map(|(_, name)| (*name).to_owned())
}

fn text(page: &Value) -> String {
    let of = |name: &str| page[name].as_str().unwrap_or_default();
    let list = |name: &str| {
        let words = page[name].as_array().map_or(&[][..], Vec::as_slice);
        words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("{}: {}\n", of("reason"), of("sentence"));
    text += &format!("HTTP {}, gRPC {}\n\n", of("http"), of("grpc"));
    for (title, says) in [
        ("What happened", of("happened").to_owned()),
        ("Where to look", of("look").to_owned()),
        ("What to change", of("change").to_owned()),
        ("Settings", list("settings")),
        ("Metrics", list("metrics")),
    ] {
        if !says.is_empty() {
            text += &paragraph(title, &says);
        }
    }
    text
}

/// A title, and beside it what is said, in lines of the same width.
fn paragraph(title: &str, says: &str) -> String {
    const INDENT: usize = 16;
    let (mut text, mut at) = (format!("{title:<INDENT$}"), INDENT);
    for word in says.split(' ') {
        let long = word.chars().count();
        if at > INDENT && at + 1 + long > WIDTH {
            text += &format!("\n{:INDENT$}", "");
            at = INDENT;
        } else if at > INDENT {
            text.push(' ');
            at += 1;
        }
        text += word;
        at += long;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_fits_a_terminal() {
        for &reason in Reason::ALL {
            let text = text(&reasons::page(reason));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{reason}: {line}");
            }
            for title in ["What happened", "Where to look", "What to change", "Metrics"] {
                assert!(text.lines().any(|line| line.starts_with(title)), "{reason}: {title}");
            }
        }
    }

    #[test]
    fn paragraphs_break_between_words() {
        let lines = paragraph("Title", &"word ".repeat(40));
        assert!(lines.starts_with("Title           word word"), "{lines}");
        assert!(lines.lines().nth(1).is_some_and(|line| line.starts_with("                word")));
        assert_eq!(lines.matches("word").count(), 40);
    }

    #[test]
    fn a_service_is_found_by_part_of_its_name() {
        let answer = br#"{"services": [{"name": "orders.shop:80"}, {"name": "web.shop:8080"}]}"#;
        for (word, meant) in [
            ("orders", Some("orders.shop:80")),
            ("ordrs", Some("orders.shop:80")),
            ("web.shop", Some("web.shop:8080")),
            ("something", None),
        ] {
            assert_eq!(service_like(word, answer).as_deref(), meant, "{word}");
        }
        assert_eq!(service_like("orders", b"no JSON"), None);
    }
}
