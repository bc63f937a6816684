//! What lines look like and what each level lets through.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tracing::dispatcher::with_default;
use tracing::level_filters::STATIC_MAX_LEVEL;

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn take(&self) -> String {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(std::mem::take(&mut *bytes)).expect("UTF-8")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(level: &str, style: Style, colour: bool) -> (Dispatch, LogHandle, Page) {
    let page = Page::default();
    let theirs = page.clone();
    let (dispatch, handle) =
        build(level, style, colour, move || theirs.clone()).expect("a known level");
    (dispatch, handle, page)
}

fn say_everything() {
    tracing::error!(target: "outrigger::a", "oe");
    tracing::warn!(target: "outrigger::a", "ow");
    tracing::info!(target: "outrigger_proxy", "oi");
    tracing::debug!(target: "outrigger", "od");
    tracing::trace!(target: "outrigger::a", "ot");
    tracing::error!(target: "h2::a", "he");
    tracing::warn!(target: "hyper", "hw");
    tracing::info!(target: "rustls::b", "hi");
    tracing::debug!(target: "h2", "hd");
    tracing::trace!(target: "h2", "ht");
}

#[test]
fn levels_can_be_changed_while_running() {
    // Release builds are compiled without trace events.
    let all = match STATIC_MAX_LEVEL {
        LevelFilter::TRACE => "oe ow oi od ot he hw hi hd ht",
        _ => "oe ow oi od he hw hi hd",
    };
    let table = [
        ("info", "oe ow oi he hw"),
        ("error", "oe he"),
        ("trace", all),
        ("warn", "oe ow he hw"),
        ("DEBUG", "oe ow oi od he hw hi"),
    ];
    let (dispatch, handle, page) = log("error", Style::Text, false);
    with_default(&dispatch, || {
        for (level, expected) in table {
            handle.set_level(level).expect("a level");
            assert_eq!(handle.level(), level.to_lowercase());
            say_everything();
            let text = page.take();
            let said: Vec<_> =
                text.lines().filter_map(|line| line.split(' ').next_back()).collect();
            assert_eq!(said.join(" "), expected, "{level}");
        }
    });
}

#[test]
fn unknown_levels_change_nothing() {
    let (_dispatch, handle, _) = log("warn", Style::Text, false);
    for level in ["", "off", "verbose", "3"] {
        let error = handle.set_level(level).expect_err("no level");
        assert!(matches!(&error, Error::UnknownLevel(given) if given == level), "{error}");
    }
    assert_eq!(handle.level(), "warn");
}

#[test]
fn text_line() {
    let (dispatch, _handle, page) = log("info", Style::Text, false);
    let key = "two words";
    with_default(&dispatch, || {
        tracing::info!(target: "outrigger::inbound", n = 1, key, "mess\u{1b}[31mage");
    });
    let text = page.take();
    let (time, rest) = text.split_at(24);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(rest, "  INFO outrigger::inbound: mess\\x1b[31mage n=1 key=\"two words\"\n");
}

#[test]
fn json_line() {
    let (dispatch, _handle, page) = log("info", Style::Json, false);
    with_default(&dispatch, || tracing::warn!(target: "outrigger::inbound", n = 1, "message"));
    let mut value: serde_json::Value = serde_json::from_str(&page.take()).expect("JSON");
    let time = value["timestamp"].take();
    assert_eq!(time.as_str().map(str::len), Some(24));
    let golden = r#"{"timestamp":null,"level":"WARN","message":"message","n":1,"target":"outrigger::inbound"}"#;
    assert_eq!(value, serde_json::from_str::<serde_json::Value>(golden).expect("JSON"));
}

#[test]
fn colour_only_where_asked() {
    for colour in [false, true] {
        let (dispatch, _handle, page) = log("info", Style::Text, colour);
        with_default(&dispatch, || tracing::info!(target: "outrigger", "hello"));
        assert_eq!(page.take().contains('\u{1b}'), colour);
    }
}
