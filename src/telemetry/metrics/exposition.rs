//! The two text formats of `/metrics`: Prometheus 0.0.4 and OpenMetrics 1.0.0. They differ in the
//! names of counters (OpenMetrics leaves `_total` to the sample), in help escaping, in how bounds
//! are written, in exemplars, which only OpenMetrics has, and in its closing `# EOF`. Each family is
//! one block: HELP, TYPE, samples.
//! `admin` asks [`Format::from_accept`] and serves what `Registry::render` returns.

use std::fmt::Write;

use super::exemplar::{Exemplar, Sampled};
use super::family::Snapshot;
use super::handles::{BOUNDS, Kind, Reading};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Prometheus,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics where it is named in a version that
    /// we write and not ranked below plain text, else Prometheus.
    pub fn from_accept(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0, 0.0_f64);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let (mut weight, mut known) = (1.0_f64, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    "q" | "Q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => known = matches!(value.trim().trim_matches('"'), "1.0.0"),
                    _ => {}
                }
            }
            if media.eq_ignore_ascii_case("application/openmetrics-text") && known {
                open = weight.max(open);
            } else if media.eq_ignore_ascii_case("text/plain") {
                plain = weight.max(plain);
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of a rendering.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Families in the order given; those without series are left out.
pub(super) fn render<'a>(snapshots: impl Iterator<Item = &'a Snapshot>, format: Format) -> String {
    let mut page = Page { out: String::with_capacity(16 * 1024), format };
    for snapshot in snapshots.filter(|snapshot| !snapshot.rows.is_empty()) {
        page.family(snapshot);
    }
    if format == Format::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

struct Page {
    out: String,
    format: Format,
}

impl Page {
    fn family(&mut self, snapshot: &Snapshot) {
        self.head(snapshot);
        for (labels, reading) in &snapshot.rows {
            match reading {
                Reading::Histogram { counts, micros, exemplars } => {
                    self.histogram(snapshot.desc.name, labels, counts, *micros, exemplars);
                }
                plain => self.sample(snapshot.desc.name, "", &[labels], plain),
            }
        }
    }

    fn head(&mut self, snapshot: &Snapshot) {
        let desc = &snapshot.desc;
        let name = match self.format {
            Format::Prometheus => desc.name,
            Format::OpenMetrics => desc.name.strip_suffix("_total").unwrap_or(desc.name),
        };
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        escape(&mut self.out, desc.help, self.format == Format::OpenMetrics);
        if !desc.labels.is_empty() {
            self.put(format_args!(" At most {} series.", desc.bound));
        }
        let kind = match snapshot.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.put(format_args!("\n# TYPE {name} {kind}\n"));
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        counts: &[u64],
        micros: u64,
        exemplars: &Option<Box<Sampled>>,
    ) {
        let mut total = 0;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let bound = self.bound(at);
            self.series(name, "_bucket", &[labels, &bound]);
            self.put(format_args!("{total}"));
            if let Some(exemplar) = exemplars.as_ref().and_then(|all| all[at]) {
                self.exemplar(exemplar);
            }
            self.out.push('\n');
        }
        self.sample(name, "_sum", &[labels], &Reading::Float(micros as f64 / 1e6));
        self.sample(name, "_count", &[labels], &Reading::Unsigned(total));
    }

    /// The older format takes nothing behind a value.
    fn exemplar(&mut self, Exemplar { trace_id, nanos, at_ms }: Exemplar) {
        if self.format == Format::OpenMetrics {
            let (value, second, rest) = (nanos as f64 / 1e9, at_ms / 1_000, at_ms % 1_000);
            self.put(format_args!(
                r##" # {{trace_id="{trace_id:032x}"}} {value} {second}.{rest:03}"##
            ));
        }
    }

    /// OpenMetrics asks for `1.0` where Prometheus writes `1`.
    fn bound(&self, at: usize) -> String {
        let seconds = BOUNDS.get(at).map(|nanos| *nanos as f64 / 1e9);
        match (seconds, self.format) {
            (None, _) => r#"le="+Inf""#.to_owned(),
            (Some(seconds), Format::Prometheus) => format!(r#"le="{seconds}""#),
            (Some(seconds), Format::OpenMetrics) => format!(r#"le="{seconds:?}""#),
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[&str], reading: &Reading) {
        self.series(name, suffix, labels);
        match *reading {
            Reading::Unsigned(value) => self.put(format_args!("{value}\n")),
            Reading::Signed(value) => self.put(format_args!("{value}\n")),
            Reading::Float(f64::INFINITY) => self.out.push_str("+Inf\n"),
            Reading::Float(f64::NEG_INFINITY) => self.out.push_str("-Inf\n"),
            Reading::Float(value) => self.put(format_args!("{value}\n")),
            Reading::Histogram { .. } => unreachable!("a histogram is written as its samples"),
        }
    }

    /// The name and labels of a sample, and the space before its value.
    fn series(&mut self, name: &str, suffix: &str, labels: &[&str]) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut open = false;
        for part in labels.iter().filter(|part| !part.is_empty()) {
            self.out.push(if open { ',' } else { '{' });
            self.out.push_str(part);
            open = true;
        }
        self.out.push_str(if open { "} " } else { " " });
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a String takes every character");
    }
}

/// `a="x",b="y"`, values escaped.
pub(super) fn labels(names: &[&str], values: &[&str]) -> String {
    let mut out = String::new();
    for (name, value) in names.iter().zip(values) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        escape(&mut out, value, true);
        out.push('"');
    }
    out
}

/// Quotes are escaped in label values by both formats, in help texts by OpenMetrics alone.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
