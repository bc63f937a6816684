//! What the pages of the admin ports have in common: how answers look, and the few that every
//! process gives in the same way.
//!
//! No answer may be stored, or taken for something else than it says it is. Both admin ports answer
//! with these; what they show is theirs.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::runtime::Readiness;
use crate::runtime::profiler::{self, ProfileError};
#[cfg(debug_assertions)]
use crate::runtime::rehearsal;
use crate::telemetry::log::LogHandle;
use crate::telemetry::metrics::{Format, Registry};

/// Seconds that a profile takes where nobody says how many, as in Go's servers.
const PROFILE: u64 = 30;

/// A whole answer.
pub type Answer = Response<Full<Bytes>>;

/// `/ready`: 200, or 503 with what is still missing.
pub fn ready(readiness: &Readiness) -> Answer {
    let missing = readiness.missing();
    if missing.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready, still missing: {}\n", missing.join(", ")),
    )
}

/// `/metrics`, in the format that the scraper asks for.
pub fn metrics(registry: &Registry, headers: &HeaderMap) -> Answer {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::from_accept(accept.unwrap_or_default());
    typed(StatusCode::OK, format.content_type(), registry.render(format))
}

/// `/log`: the level.
pub fn log(log: &LogHandle) -> Answer {
    json(&json!({"level": log.level()}))
}

/// `POST /log?level=`: another level.
pub fn set_log(log: &LogHandle, query: Option<&str>) -> Answer {
    let level =
        query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("level=")));
    let Some(level) = level else {
        return text(StatusCode::BAD_REQUEST, "say which level: POST /log?level=debug\n");
    };
    match log.set_level(level) {
        Ok(()) => self::log(log),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// `/debug/pprof/profile?seconds=`: where CPU time goes, as pprof reads it. It lasts as long, and at
/// most so many seconds.
pub async fn profile(query: Option<&str>, longest: u64) -> Answer {
    let written = query.unwrap_or_default().split('&').find_map(|of| of.strip_prefix("seconds="));
    let seconds = written.map_or(Some(PROFILE), |text| text.parse().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=longest).contains(seconds)) else {
        let said = format!("say for how long: ?seconds=10, of 1 to {longest}\n");
        return text(StatusCode::BAD_REQUEST, said);
    };
    match profiler::profile(Duration::from_secs(seconds)).await {
        Ok(profile) => {
            let mut answer = typed(StatusCode::OK, "application/octet-stream", profile);
            let file = HeaderValue::from_static("attachment; filename=\"profile.pb\"");
            answer.headers_mut().insert(header::CONTENT_DISPOSITION, file);
            answer
        }
        Err(error @ ProfileError::Busy) => text(StatusCode::CONFLICT, format!("{error}\n")),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// `POST /panic?at=`: the next one to pass that place panics. Only in builds for tests.
#[cfg(debug_assertions)]
pub fn rehearse(query: Option<&str>) -> Answer {
    let at = query.and_then(|query| query.strip_prefix("at=")).unwrap_or_default();
    match rehearsal::arm(at) {
        true => text(StatusCode::ACCEPTED, "the next one panics\n"),
        false => text(StatusCode::BAD_REQUEST, "there is no such place\n"),
    }
}

/// There is no such page.
pub fn unknown() -> Answer {
    text(StatusCode::NOT_FOUND, "no such page; /pages lists them\n")
}

/// A page that only changes something was asked for without changing it.
pub fn post_only() -> Answer {
    text(StatusCode::METHOD_NOT_ALLOWED, "this changes something: use POST\n")
}

/// An index for people: what this is in a few rows, and where to look on. `changes` is HTML.
pub fn index(title: &str, rows: &[(&str, String)], links: &[&str], changes: &str) -> Answer {
    let rows: String = rows.iter().map(|(k, v)| format!("<tr><th>{k}<td>{}", escaped(v))).collect();
    let links: String =
        links.iter().map(|path| format!("<li><a href=\"{path}\">{path}</a>")).collect();
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>Outrigger: {title}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui;margin:2rem auto;\
         max-width:44rem;padding:0 1rem}}th{{text-align:left;padding-right:2rem;font-weight:500}}\
         td{{overflow-wrap:anywhere}}</style>\
         <h1>{title}</h1><table>{rows}</table><h2>More</h2><ul>{links}</ul>\
         <p>Changes: {changes}.</html>\n",
        title = escaped(title),
    );
    typed(StatusCode::OK, "text/html; charset=utf-8", html)
}

pub fn json(value: &Value) -> Answer {
    typed(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

pub fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    let body: String = body.into();
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A moment as pages write it: RFC 3339, in UTC.
pub fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
