//! `/tap`: requests as they end, one JSON object a line, for as long as somebody reads.
//!
//! A line is what the access log's would be, less what may be secret; what was left out is told in
//! lines of its own. The head goes out at once. A reader that is slow, or leaves, costs the records that
//! it does not read, and ends its own tap.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

use super::view::View;
use crate::http::{answers, percent};
use crate::resources::{scalar, suggestion};
use crate::runtime::clock::now_us;
use crate::telemetry::Timestamps;
use crate::telemetry::access_log;
use crate::telemetry::tap::{Drained, Filter, LeftOut, MOST_RATE, RATE, Record, Watcher};

/// Between two looks: what comes meanwhile is told together.
const PAUSE: Duration = Duration::from_millis(100);
/// Records told together.
const AT_ONCE: usize = 200;
const BYTES_AT_ONCE: usize = 64 << 10;

/// Lines to come.
pub type Lines = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;
/// Any answer of the admin port.
pub type Page = Response<Either<Full<Bytes>, Lines>>;

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Question {
    filter: Filter,
    rate: Option<u32>,
    /// After so many it ends.
    count: Option<u64>,
}

/// Begins to tell.
pub fn answer(view: &View, query: Option<&str>) -> Page {
    let namespace = view.workload.rsplit_once('.').map_or("default", |(_, namespace)| namespace);
    let Question { filter, rate, count } = match read(query.unwrap_or_default(), namespace) {
        Ok(question) => question,
        Err(faults) => return refusal(StatusCode::BAD_REQUEST, &faults.join("\n")),
    };
    let watcher = match view.taps.begin(vec![filter], rate.unwrap_or(RATE), now_us()) {
        Ok(watcher) => watcher,
        Err(error) => return refusal(StatusCode::TOO_MANY_REQUESTS, &error.to_string()),
    };
    let (sender, lines) = mpsc::channel(1);
    tokio::task::spawn_local(tell(watcher, count, sender));
    let mut response = Response::new(Either::Right(StreamBody::new(ReceiverStream::new(lines))));
    for (name, value) in [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(status: StatusCode, why: &str) -> Page {
    answers::text(status, format!("{why}\n")).map(Either::Left)
}

/// Until the reader leaves, the process ends, or all that was asked for is told.
async fn tell(
    watcher: Watcher,
    count: Option<u64>,
    reader: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
) {
    let (mut left, mut times) = (count.unwrap_or(u64::MAX), Timestamps::default());
    loop {
        tokio::select! {
            () = watcher.queue().some() => {}
            () = reader.closed() => return,
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(AT_ONCE);
        let Drained { items, left_out, is_over } =
            watcher.queue().drain(most, BYTES_AT_ONCE, now_us());
        left -= items.len() as u64;
        let lines = lines(&items, left_out, &mut times);
        let is_gone = !lines.is_empty() && reader.send(Ok(Frame::data(lines))).await.is_err();
        if is_gone || is_over || left == 0 {
            return;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = reader.closed() => return,
        }
    }
}

fn lines(records: &[Record], left_out: LeftOut, times: &mut Timestamps) -> Bytes {
    let mut lines = Vec::new();
    for record in records {
        access_log::write_json(&mut lines, times, &record.entry());
    }
    if left_out != LeftOut::default() {
        let LeftOut { over_rate, unread } = left_out;
        let line =
            format!("{{\"kind\":\"left_out\",\"over_rate\":{over_rate},\"unread\":{unread}}}\n");
        lines.extend_from_slice(line.as_bytes());
    }
    lines.into()
}

/// Reads a query; a bare service is one of `namespace`.
fn read(query: &str, namespace: &str) -> Result<Question, Vec<String>> {
    let (mut question, mut faults) = (Question::default(), Vec::new());
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, written) = pair.split_once('=').unwrap_or((pair, ""));
        let read = if seen.contains(&key) {
            Err("stands twice; say it once, several values with commas".to_owned())
        } else {
            match percent::text(written) {
                Some(value) => question.take(key, &value, namespace),
                None => Err(format!("{written:?} is no percent-encoded text")),
            }
        };
        seen.push(key);
        faults.extend(read.err().map(|why| format!("{key}: {why}")));
    }
    if faults.is_empty() { Ok(question) } else { Err(faults) }
}

impl Question {
    fn take(&mut self, key: &str, value: &str, namespace: &str) -> Result<(), String> {
        match key {
            "slower" => self.filter.slower = Some(scalar::read_duration(value)?),
            "rate" => {
                let rate = value.parse().ok().filter(|rate| (1..=MOST_RATE).contains(rate));
                let wrong = || format!("{value:?} is no number from 1 to {MOST_RATE}");
                self.rate = Some(rate.ok_or_else(wrong)?);
            }
            "count" => {
                let count = value.parse().ok().filter(|&count| count > 0);
                self.count = Some(count.ok_or_else(|| format!("{value:?} is no number from 1"))?);
            }
            "service" => self.filter.set(key, &in_namespace(value, namespace))?,
            key if Filter::FIELDS.contains(&key) => self.filter.set(key, value)?,
            _ => {
                let known: Vec<&str> =
                    Filter::FIELDS.into_iter().chain(["slower", "rate", "count"]).collect();
                let list = || format!("; known are {}", known.join(", "));
                let near = suggestion(key, known.iter().copied(), list);
                return Err(format!("is not asked for{near}"));
            }
        }
        Ok(())
    }
}

/// `api:80` → `api.shop:80`
fn in_namespace(service: &str, namespace: &str) -> String {
    let (name, port) = service.split_at(service.rfind(':').unwrap_or(service.len()));
    match name {
        "" | "unknown" => service.to_owned(),
        name if name.contains('.') => service.to_owned(),
        name => format!("{name}.{namespace}{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_wanted() {
        let query = "method=GET,POST&path=/a%20b*&service=api:80&slower=250ms&rate=5&count=2";
        let read = read(query, "shop").expect("legal");
        assert_eq!((read.rate, read.count), (Some(5), Some(2)));
        let text = read.filter.to_string();
        assert_eq!(text, "method GET,POST, path /a b*, to api.shop:80, from 250ms");
        assert_eq!(self::read("", "shop"), Ok(Question::default()));
        assert_eq!(in_namespace("unknown", "shop"), "unknown");
        assert_eq!(in_namespace("api.ops:80", "shop"), "api.ops:80");
    }

    #[test]
    fn every_fault_of_a_query_is_named_at_once() {
        let query = "status=5x&rate=0&count=x&slower=1&methd=GET&path=%zz&failed=true&failed=true";
        let faults = read(query, "shop").expect_err("illegal");
        let begin = ["status: ", "rate: ", "count: ", "slower: ", "methd: ", "path: ", "failed: "];
        assert_eq!(faults.len(), begin.len(), "{faults:#?}");
        for (fault, begin) in faults.iter().zip(begin) {
            assert!(fault.starts_with(begin), "{fault}");
        }
        assert!(
            faults[1].contains("from 1 to 1000") && faults[4].contains("`method`"),
            "{faults:#?}"
        );
    }
}
