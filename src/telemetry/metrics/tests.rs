//! Goldens for both formats, the bound, and counting from many threads.

use std::thread;
use std::time::Duration;

use super::*;

fn sample_registry() -> Registry {
    let registry = Registry::default();
    let requests = registry.counter_family("t_requests_total", "Requests.", 4, &["to", "code"]);
    requests.with(&["b", "200"]).add(3);
    requests.with(&["a", "503"]).inc();
    requests.with(&["a", "200"]);
    registry.gauge("t_open", "A \"quoted\\\nhelp\".").set(-2);
    registry.gauge_f64("t_seen_timestamp_seconds", "Seen.").set(1.5e9);
    let cpu = Desc { name: "t_cpu_total", help: "Cpu.", bound: 1, labels: &[] };
    registry.collect(move |sink| sink.counter(&cpu, &[], 0.25));
    registry
}

#[test]
fn prometheus_golden() {
    let golden = r#"# HELP t_cpu_total Cpu.
# TYPE t_cpu_total counter
t_cpu_total 0.25
# HELP t_open A "quoted\\\nhelp".
# TYPE t_open gauge
t_open -2
# HELP t_requests_total Requests. At most 4 series.
# TYPE t_requests_total counter
t_requests_total{to="a",code="200"} 0
t_requests_total{to="a",code="503"} 1
t_requests_total{to="b",code="200"} 3
# HELP t_seen_timestamp_seconds Seen.
# TYPE t_seen_timestamp_seconds gauge
t_seen_timestamp_seconds 1500000000
"#;
    assert_eq!(sample_registry().render(Format::Prometheus), golden);
}

#[test]
fn open_metrics_golden() {
    let golden = r#"# HELP t_cpu Cpu.
# TYPE t_cpu counter
t_cpu_total 0.25
# HELP t_open A \"quoted\\\nhelp\".
# TYPE t_open gauge
t_open -2
# HELP t_requests Requests. At most 4 series.
# TYPE t_requests counter
t_requests_total{to="a",code="200"} 0
t_requests_total{to="a",code="503"} 1
t_requests_total{to="b",code="200"} 3
# HELP t_seen_timestamp_seconds Seen.
# TYPE t_seen_timestamp_seconds gauge
t_seen_timestamp_seconds 1500000000
# EOF
"#;
    assert_eq!(sample_registry().render(Format::OpenMetrics), golden);
}

#[test]
fn histogram_golden() {
    let registry = Registry::default();
    let family = registry.histogram_family("t_seconds", "Time.", 2, &["to"]);
    let durations = [0, 500_000, 500_001, 1_000_000_000, 60_000_000_001];
    for nanos in durations {
        family.with(&["a"]).observe(Duration::from_nanos(nanos));
    }
    let bounds = [
        ("0.0005", 2),
        ("0.001", 3),
        ("0.0025", 3),
        ("0.005", 3),
        ("0.01", 3),
        ("0.025", 3),
        ("0.05", 3),
        ("0.1", 3),
        ("0.25", 3),
        ("0.5", 3),
        ("1", 4),
        ("2.5", 4),
        ("5", 4),
        ("10", 4),
        ("30", 4),
        ("60", 4),
        ("+Inf", 5),
    ];
    for (format, whole, head, tail) in [
        (Format::Prometheus, "", "# HELP t_seconds Time. At most 2 series.", ""),
        (Format::OpenMetrics, ".0", "# HELP t_seconds Time. At most 2 series.", "# EOF\n"),
    ] {
        let mut golden = format!("{head}\n# TYPE t_seconds histogram\n");
        for (bound, count) in bounds {
            let dot = if bound.contains(['.', '+']) { "" } else { whole };
            golden += &format!("t_seconds_bucket{{to=\"a\",le=\"{bound}{dot}\"}} {count}\n");
        }
        golden += "t_seconds_sum{to=\"a\"} 61.001\nt_seconds_count{to=\"a\"} 5\n";
        assert_eq!(registry.render(format), golden + tail);
    }
}

#[test]
fn exemplars_golden() {
    let registry = Registry::default();
    let took = registry.histogram_family("t_seconds", "Time.", 2, &["to"]).with(&["a"]);
    took.observe(Duration::from_micros(700));
    took.observe_with(Duration::from_micros(1_200), 0xabc);
    took.observe_with(Duration::from_micros(1_300), 0x4bf92f3577b34da6a3ce929d0e0e4736);
    took.observe_with(Duration::from_secs(61), 1);
    let page = registry.render(Format::OpenMetrics);
    let line = |bound: &str| {
        let start = format!("t_seconds_bucket{{to=\"a\",le=\"{bound}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)).expect("a bucket").to_owned()
    };
    assert_eq!(line("0.001"), "1");
    let (newest, at) =
        line("0.0025").rsplit_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("words");
    assert_eq!(newest, r##"3 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.0013"##);
    let (second, rest) = at.split_once('.').expect("milliseconds");
    assert!(second.parse::<u64>().is_ok_and(|at| at > 1_700_000_000) && rest.len() == 3, "{at}");
    let beyond = line("+Inf");
    assert!(beyond.starts_with(&format!(r##"4 # {{trace_id="{:032x}"}} 61 "##, 1)), "{beyond}");
    let plain = registry.render(Format::Prometheus);
    assert!(!plain.contains("trace_id"), "{plain}");
}

#[test]
fn label_values_are_escaped() {
    let table = [
        ("plain", "plain"),
        ("a\"b", "a\\\"b"),
        ("a\\b", "a\\\\b"),
        ("a\nb", "a\\nb"),
        ("ä}{,=", "ä}{,="),
        ("", ""),
    ];
    for (value, shown) in table {
        let registry = Registry::default();
        registry.counter_family("t_total", "T.", 1, &["v"]).with(&[value]).inc();
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let page = registry.render(format);
            assert!(page.contains(&format!("\nt_total{{v=\"{shown}\"}} 1\n")), "{page}");
        }
    }
}

#[test]
fn floats_beyond_the_numbers() {
    let table = [(f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf"), (f64::NAN, "NaN")];
    for (value, shown) in table {
        let registry = Registry::default();
        registry.gauge_f64("t", "T.").set(value);
        assert!(registry.render(Format::Prometheus).ends_with(&format!("\nt {shown}\n")));
    }
}

#[test]
fn the_bound_holds_and_is_counted() {
    let registry = Registry::default();
    let family = registry.counter_family("t_total", "T.", 2, &["a", "b"]);
    for name in ["x", "y", "z", "w", "x"] {
        family.with(&[name, "1"]).inc();
    }
    family.with(&["other", "other"]).inc();
    let page = registry.render(Format::Prometheus);
    let lines: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = [
        "outrigger_series_dropped_total{family=\"t_total\"} 2",
        "t_total{a=\"x\",b=\"1\"} 2",
        "t_total{a=\"y\",b=\"1\"} 1",
        "t_total{a=\"other\",b=\"other\"} 3",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn removal_makes_room() {
    let registry = Registry::default();
    let family = registry.counter_family("t_total", "T.", 2, &["a"]);
    let kept = family.with(&["x"]);
    family.with(&["y"]).inc();
    family.remove_where(|values| &*values[0] == "x");
    kept.inc();
    family.with(&["z"]).inc();
    let page = registry.render(Format::Prometheus);
    assert!(page.ends_with("t_total{a=\"y\"} 1\nt_total{a=\"z\"} 1\n"), "{page}");
    assert!(!page.contains("other"), "{page}");
}

#[test]
fn a_collector_is_bounded_and_summed() {
    let registry = Registry::default();
    let desc = Desc { name: "t", help: "T.", bound: 2, labels: &["a"] };
    registry.collect(move |sink| {
        for (name, value) in [("c", 1.0), ("a", 2.0), ("d", 4.0), ("a", 8.0), ("b", 16.0)] {
            sink.gauge(&desc, &[name], value);
        }
    });
    let page = registry.render(Format::Prometheus);
    let tail = "t{a=\"a\"} 10\nt{a=\"b\"} 16\nt{a=\"other\"} 5\n";
    assert!(page.ends_with(tail), "{page}");
    assert!(page.contains("outrigger_series_dropped_total{family=\"t\"} 2\n"), "{page}");
}

#[test]
fn registering_again_finds_the_same() {
    let registry = Registry::default();
    registry.counter("t_total", "T.").inc();
    registry.clone().counter("t_total", "T.").inc();
    assert_eq!(registry.counter("t_total", "T.").value(), 2);
}

#[test]
#[should_panic(expected = "two shapes")]
fn registering_another_shape_panics() {
    let registry = Registry::default();
    registry.gauge("t", "T.");
    registry.gauge_f64("t", "T.");
}

#[test]
fn threads_lose_nothing() {
    const TIMES: u64 = 2_000;
    let registry = Registry::default();
    let counters = registry.counter_family("t_total", "T.", 8, &["n"]);
    let times = registry.histogram_family("t_seconds", "T.", 8, &["n"]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..TIMES {
                    let label = if n % 2 == 0 { "even" } else { "odd" };
                    counters.with(&[label]).inc();
                    times.with(&[label]).observe(Duration::from_millis(n));
                }
            });
        }
        scope.spawn(|| {
            (0..50).for_each(|_| assert!(!registry.render(Format::OpenMetrics).is_empty()))
        });
    });
    let page = registry.render(Format::Prometheus);
    for n in ["even", "odd"] {
        assert_eq!(counters.with(&[n]).value(), TIMES * 2);
        assert!(page.contains(&format!("t_seconds_count{{n=\"{n}\"}} {}\n", TIMES * 2)), "{page}");
    }
}

#[test]
fn accept_chooses_the_format() {
    use Format::{OpenMetrics, Prometheus};
    let table = [
        ("", Prometheus),
        ("*/*", Prometheus),
        ("text/plain", Prometheus),
        ("application/openmetrics-text", OpenMetrics),
        ("Application/OpenMetrics-Text; version=1.0.0", OpenMetrics),
        ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", OpenMetrics),
        ("application/openmetrics-text; version=2.0.0", Prometheus),
        ("application/openmetrics-text;q=0", Prometheus),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", Prometheus),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OpenMetrics,
        ),
    ];
    for (accept, format) in table {
        assert_eq!(Format::from_accept(accept), format, "{accept}");
    }
    assert!(OpenMetrics.content_type().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(Prometheus.content_type().starts_with("text/plain; version=0.0.4"));
}
