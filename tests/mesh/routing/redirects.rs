//! Redirects: where the caller is sent, and with which status.

use crate::harness::yaml::http_route;
use crate::harness::{Echoes, Lone, Row, row, table};

#[track_caller]
fn redirected(cases: &[(&str, &str)], rows: &[Row]) {
    let rule = |(path, fields): &(&str, &str)| {
        format!(
            "- matches: [{{path: {{value: {path}}}}}]\n  \
             filters: [{{type: RequestRedirect, requestRedirect: {{{fields}}}}}]\n"
        )
    };
    let rules: String = cases.iter().map(rule).collect();
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    table(caller.echo(), &echoes, rows);
}

/// A request that is sent elsewhere.
fn sent(line: &'static str, status: u16, location: &'static str) -> Row {
    row(line).answered(&[status]).told(location)
}

#[test]
fn to_another_host_with_each_status() {
    redirected(
        &[
            ("/host", "hostname: example.org"),
            ("/301", "hostname: example.org, statusCode: 301"),
            ("/302", "hostname: example.org, statusCode: 302"),
            ("/303", "hostname: example.org, statusCode: 303"),
            ("/307", "hostname: example.org, statusCode: 307"),
            ("/308", "hostname: example.org, statusCode: 308"),
        ],
        &[
            sent("GET /host", 302, "location: http://example.org/host"),
            sent("GET /host/deep?q=1", 302, "location: http://example.org/host/deep?q=1"),
            sent("GET /301", 301, "location: http://example.org/301"),
            sent("GET /302", 302, "location: http://example.org/302"),
            sent("POST /303", 303, "location: http://example.org/303"),
            sent("POST /307", 307, "location: http://example.org/307"),
            sent("HEAD /308", 308, "location: http://example.org/308"),
        ],
    );
}

#[test]
fn to_another_path_whole_or_in_its_prefix() {
    let prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /replacement}";
    let full = "path: {type: ReplaceFullPath, replaceFullPath: /full-replacement}";
    let with = |path: &str, more: &str| format!("{path}, {more}");
    let (host, status) = (with(prefix, "hostname: example.org"), with(prefix, "statusCode: 301"));
    let (full_host, full_status) =
        (with(full, "hostname: example.org"), with(full, "statusCode: 308"));
    redirected(
        &[
            ("/original", prefix),
            ("/full", full),
            ("/host", &host),
            ("/status", &status),
            ("/full-host", &full_host),
            ("/full-status", &full_status),
        ],
        &[
            sent("GET /original/lemon", 302, "location: http://echo.default/replacement/lemon"),
            sent("GET /original?a=b", 302, "location: http://echo.default/replacement?a=b"),
            sent("GET /full/path/original", 302, "location: http://echo.default/full-replacement"),
            sent("GET /host/x", 302, "location: http://example.org/replacement/x"),
            sent("GET /status", 301, "location: http://echo.default/replacement"),
            sent("GET /full-host/x", 302, "location: http://example.org/full-replacement"),
            sent("GET /full-status", 308, "location: http://echo.default/full-replacement"),
        ],
    );
}

#[test]
fn to_another_port() {
    redirected(
        &[
            ("/port", "port: 8083"),
            ("/host", "port: 8083, hostname: example.org"),
            ("/status", "port: 8083, statusCode: 301"),
            ("/all", "port: 8083, hostname: example.org, statusCode: 301"),
            ("/usual", "port: 80, hostname: example.org"),
        ],
        &[
            sent("GET /port", 302, "location: http://echo.default:8083/port"),
            sent("GET /port", 302, "location: http://echo.default:8083/port")
                .host("echo.default:9"),
            sent("GET /host", 302, "location: http://example.org:8083/host"),
            sent("GET /status", 301, "location: http://echo.default:8083/status"),
            sent("GET /all", 301, "location: http://example.org:8083/all"),
            sent("GET /usual", 302, "location: http://example.org/usual"),
        ],
    );
}

#[test]
fn to_another_scheme_with_its_own_port() {
    redirected(
        &[
            ("/scheme", "scheme: https"),
            ("/host", "scheme: https, hostname: example.org"),
            ("/status", "scheme: https, statusCode: 301"),
            ("/port", "scheme: https, port: 8443"),
            ("/usual", "scheme: https, port: 443"),
            ("/odd", "scheme: https, port: 80"),
        ],
        &[
            sent("GET /scheme", 302, "location: https://echo.default/scheme"),
            sent("GET /host", 302, "location: https://example.org/host"),
            sent("GET /status", 301, "location: https://echo.default/status"),
            sent("GET /port", 302, "location: https://echo.default:8443/port"),
            sent("GET /usual", 302, "location: https://echo.default/usual"),
            sent("GET /odd", 302, "location: https://echo.default:80/odd"),
        ],
    );
}

#[test]
fn a_redirect_leaves_the_connection_usable_after_a_body_that_nobody_read() {
    let echoes = Echoes::four();
    let rules = "
- matches: [{path: {value: /moved}}]
  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
- backendRefs: [{name: v1, port: 80}]
";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let mut wire = caller.connect();
    for _ in 0..3 {
        let answer = wire.ask(crate::harness::post("/moved", &[b'x'; 1000]));
        assert_eq!((answer.status(), answer.reason()), (302, None));
        if answer.closes() {
            wire = caller.connect();
        }
        assert_eq!(wire.ask(crate::harness::get("/")).text(), "v1");
    }
}
