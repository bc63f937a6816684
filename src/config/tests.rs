//! Sources in, settings, faults and the printed configuration out.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::*;
use crate::export::{Collector, Endpoint, Format};
use crate::model::{Protocol, ServiceName};
use crate::resources::{Origin, yaml};
use crate::telemetry::{self, AccessLog, LogFormat, Propagation, Traces};

mod faults;

/// A configuration file in a folder of its own, removed at the end.
struct Sidecar(PathBuf);

impl Sidecar {
    fn new(text: &str) -> Sidecar {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-config-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        fs::write(folder.join("sidecar.yaml"), text).expect("the folder is ours");
        Sidecar(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("sidecar.yaml")
    }

    /// Text without the folder's changing name.
    fn shown(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pairs(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
}

fn flags(flags: &[(&str, &str, &str)]) -> Vec<Flag> {
    let flag = |(name, path, text): &(&str, &str, &str)| Flag {
        name: (*name).into(),
        path: (*path).into(),
        text: (*text).into(),
    };
    flags.iter().map(flag).collect()
}

type Rows<'r, T> = &'r [T];

/// Loads from all three sources; faults come without the folder's name.
fn load_all(
    file: &str,
    environment: Rows<'_, (&str, &str)>,
    given: Rows<'_, (&str, &str, &str)>,
) -> Result<Loaded, Vec<String>> {
    let sidecar = Sidecar::new(file);
    let environment = pairs(environment).into_iter();
    load_on("web-host", Some(&sidecar.file()), environment, &flags(given))
        .map_err(|faults| faults.iter().map(|f| sidecar.shown(&f.to_string())).collect())
}

fn config(file: &str) -> Config {
    load_all(file, &[], &[]).unwrap_or_else(|faults| panic!("{file}: {faults:#?}")).config
}

fn default_config() -> Config {
    load_on("web-host", None, std::iter::empty(), &[]).expect("the defaults are sound").config
}

#[test]
fn without_any_source_the_defaults_hold() {
    let config = default_config();
    assert_eq!(config.workload.namespace, "default");
    assert_eq!(config.workload.name, "web-host");
    assert_eq!(config.workload.service_account, "default");
    assert_eq!(config.trust_domain, TrustDomain::default());
    assert_eq!(config.identity, None);
    assert!(config.resources.is_empty());
    assert_eq!(config.inbound, inbound::Settings::default());
    assert_eq!(config.outbound, outbound::Settings::default());
    assert_eq!(config.admin, admin::Settings::default());
    assert_eq!(config.probes, probes::Settings::default());
    assert_eq!(config.runtime, runtime::Settings::default());
    assert_eq!(config.drain, runtime::DrainSettings::default());
    assert_eq!(config.exit_with_app, None);
    assert_eq!(config.telemetry, telemetry::Settings::default());
    assert_eq!(config.log, LogSettings { level: Level::Info, format: LogStyle::Text });
    assert_eq!(config, self::config(""));
    assert_eq!(config, self::config("log:\n# level: debug\nadmin:\nidentity: ~\n"));
}

const FULL: &str = r#"
workload: {namespace: shop, name: web-1, serviceAccount: web, labels: {app: web}, zone: eu-1a}
trustDomain: example.org
identity: {certificate: svid.pem, key: ./keys/svid.key, trustBundle: /etc/ca.pem}
resources: [mesh/, ../more.yaml]
inbound:
  listen: ["0.0.0.0:15006"]
  mode: tproxy
  ports:
    - {name: http, listen: "127.0.0.1:18080", app: "127.0.0.1:8080", protocol: http2}
    - listen: "[::1]:18081"
      app: "[::1]:8081"
outbound:
  listen: "127.0.0.1:15001"
  upstreams:
    - {listen: "127.0.0.1:15432", service: "db:5432"}
  unknown: deny
admin: {listen: "[::1]:15000"}
probes:
  listen: "[::]:15020"
  targets:
    - container: web
      probe: readiness
      timeout: 2s
      http: {port: 8080, path: "healthz?full=1&q={a b}#top", scheme: https, host: web.example, headers: [{name: X-Probe, value: "yes"}]}
    - {container: web, probe: liveness, tcp: {port: 5432}}
    - {container: api, probe: startup, grpc: {port: 50051, service: shop}}
workers: 2
drain: {minimum: 1s, deadline: 1m}
exitWithApp: true
telemetry:
  accessLog: {format: off, sample: 0.5}
  traces:
    otlpEndpoint: https://collector.example:4318
    protocol: grpc
    headers: {authorization: Bearer secret-key}
    caFile: collector.pem
    zipkinEndpoint: http://zipkin.example:9411
    serviceName: storefront
    sampleRatio: 0.25
    slowerThan: 750ms
    propagation: [b3multi]
log: {level: debug, format: json}
"#;

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("the test wrote an address")
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text).expect("the test wrote a URL")
}

#[test]
fn every_field_of_the_file_arrives() {
    let sidecar = Sidecar::new(FULL);
    let folder = &sidecar.0;
    let loaded = load_on("h", Some(&sidecar.file()), std::iter::empty(), &[]);
    let config = loaded.expect("it is sound").config;
    let expected = Config {
        control_plane: None,
        workload: Workload {
            namespace: "shop".into(),
            name: "web-1".into(),
            service_account: "web".into(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            zone: Some("eu-1a".into()),
        },
        trust_domain: TrustDomain::parse("example.org").expect("a trust domain"),
        identity: Some(tls::Settings {
            certificate: folder.join("svid.pem"),
            key: folder.join("keys/svid.key"),
            trust_bundle: "/etc/ca.pem".into(),
        }),
        resources: vec![folder.join("mesh"), folder.join("../more.yaml")],
        inbound: inbound::Settings {
            listen: vec![address("0.0.0.0:15006")],
            mode: inbound::Mode::Tproxy,
            ports: vec![
                inbound::Port {
                    name: Some("http".into()),
                    listen: address("127.0.0.1:18080"),
                    app: address("127.0.0.1:8080"),
                    protocol: Protocol::Http2,
                },
                inbound::Port {
                    name: None,
                    listen: address("[::1]:18081"),
                    app: address("[::1]:8081"),
                    protocol: Protocol::Auto,
                },
            ],
        },
        outbound: outbound::Settings {
            listen: vec![address("127.0.0.1:15001")],
            upstreams: vec![outbound::Upstream {
                listen: address("127.0.0.1:15432"),
                service: ServiceName::parse("db.shop:5432", "").expect("a service"),
            }],
            unknown: outbound::Unknown::Deny,
        },
        admin: admin::Settings { listen: address("[::1]:15000") },
        probes: probes::Settings {
            listen: Some(address("[::]:15020")),
            targets: vec![
                probes::Target {
                    container: "web".into(),
                    probe: probes::Probe::Readiness,
                    timeout: Duration::from_secs(2),
                    ask: probes::Ask::Http(probes::Http {
                        port: 8080,
                        path: "/healthz?full=1&q=%7Ba%20b%7D".into(),
                        is_tls: true,
                        host: Some("web.example".into()),
                        headers: vec![probes::Header {
                            name: http::HeaderName::from_static("x-probe"),
                            value: http::HeaderValue::from_static("yes"),
                        }],
                    }),
                },
                probes::Target {
                    container: "web".into(),
                    probe: probes::Probe::Liveness,
                    timeout: Duration::from_secs(1),
                    ask: probes::Ask::Tcp { port: 5432 },
                },
                probes::Target {
                    container: "api".into(),
                    probe: probes::Probe::Startup,
                    timeout: Duration::from_secs(1),
                    ask: probes::Ask::Grpc(probes::Grpc { port: 50051, service: "shop".into() }),
                },
            ],
        },
        runtime: runtime::Settings { workers: Some(2) },
        drain: runtime::DrainSettings {
            minimum: Duration::from_secs(1),
            deadline: Duration::from_secs(60),
        },
        exit_with_app: Some(1),
        telemetry: telemetry::Settings {
            access_log: AccessLog { format: LogFormat::Off, sample: 0.5 },
            traces: Traces {
                sample_ratio: 0.25,
                slower_than: Duration::from_millis(750),
                propagation: vec![Propagation::B3Multi],
            },
        },
        export: export::Settings {
            collectors: vec![
                Collector {
                    endpoint: endpoint("https://collector.example:4318"),
                    format: Format::OtlpGrpc,
                    headers: HeaderMap::from_iter([(
                        header::AUTHORIZATION,
                        HeaderValue::from_static("Bearer secret-key"),
                    )]),
                    ca_file: Some(folder.join("collector.pem")),
                },
                Collector {
                    endpoint: endpoint("http://zipkin.example:9411"),
                    format: Format::Zipkin,
                    headers: HeaderMap::new(),
                    ca_file: Some(folder.join("collector.pem")),
                },
            ],
            service: Some("storefront".into()),
        },
        log: LogSettings { level: Level::Debug, format: LogStyle::Json },
    };
    assert_eq!(config, expected);
}

#[test]
fn flag_goes_over_environment_over_file_over_default() {
    let file = "log: {level: warn}\nworkload: {labels: {a: file, b: file}}\n";
    let env = [
        ("OUTRIGGER_LOG__LEVEL", "error"),
        ("OUTRIGGER_WORKLOAD__LABELS", "{b: env, c: env}"),
        ("PATH", "/bin"),
    ];
    let flag = [("--log-level", "log.level", "trace")];
    assert_eq!(config("").log.level, Level::Info);
    assert_eq!(config(file).log.level, Level::Warn);
    let level = |env, flags| load_all(file, env, flags).expect("all are sound").config.log.level;
    assert_eq!(level(&env, &[]), Level::Error);
    assert_eq!(level(&env, &flag), Level::Trace);
    assert_eq!(level(&[], &flag), Level::Trace);
    let labels = load_all(file, &env, &[]).expect("all are sound").config.workload.labels;
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=file", "b=env", "c=env"]);
}

#[test]
fn variables_hold_text_or_yaml() {
    type Show = fn(&Config) -> String;
    let rows: &[(&str, &str, Show, &str)] = &[
        ("ADMIN__LISTEN", "[::]:15000", |c| c.admin.listen.to_string(), "[::]:15000"),
        ("ADMIN__LISTEN", "'[::]:15000'", |c| c.admin.listen.to_string(), "[::]:15000"),
        ("ADMIN", "{listen: '[::]:1'}", |c| c.admin.listen.to_string(), "[::]:1"),
        ("INBOUND__LISTEN", "[::]:15006", |c| format!("{:?}", c.inbound.listen), "[[::]:15006]"),
        (
            "OUTBOUND__LISTEN",
            "['[::1]:1', '127.0.0.1:1']",
            |c| format!("{:?}", c.outbound.listen),
            "[[::1]:1, 127.0.0.1:1]",
        ),
        (
            "RESOURCES",
            "[mesh/, x.yaml]",
            |c| format!("{:?}", c.resources),
            r#"["mesh/", "x.yaml"]"#,
        ),
        (
            "OUTBOUND__LISTEN",
            "127.0.0.1:15001, [::1]:15001",
            |c| format!("{:?}", c.outbound.listen),
            "[127.0.0.1:15001, [::1]:15001]",
        ),
        (
            "INBOUND__LISTEN",
            "[::1]:1,127.0.0.1:1",
            |c| format!("{:?}", c.inbound.listen),
            "[[::1]:1, 127.0.0.1:1]",
        ),
        (
            "PROBES__TARGETS",
            r#"[{"container":"web","probe":"liveness","http":{"port":80}},{"container":"web","probe":"readiness","tcp":{"port":81}}]"#,
            |c| {
                let ports = c.probes.targets.iter().map(|target| target.ask.port());
                format!("{:?}", ports.collect::<Vec<_>>())
            },
            "[80, 81]",
        ),
        ("PROBES__LISTEN", "[::]:15020", |c| format!("{:?}", c.probes.listen), "Some([::]:15020)"),
        ("EXIT_WITH_APP", "true", |c| format!("{:?}", c.exit_with_app), "Some(1)"),
        ("EXIT_WITH_APP", "3", |c| format!("{:?}", c.exit_with_app), "Some(3)"),
        ("EXIT_WITH_APP", "false", |c| format!("{:?}", c.exit_with_app), "None"),
        ("RESOURCES", "mesh/", |c| format!("{:?}", c.resources), r#"["mesh/"]"#),
        ("WORKLOAD__NAME", "123", |c| c.workload.name.clone(), "123"),
        ("WORKLOAD__NAMESPACE", "null", |c| c.workload.namespace.clone(), "null"),
        ("WORKLOAD__SERVICE_ACCOUNT", "true", |c| c.workload.service_account.clone(), "true"),
        ("WORKERS", "3", |c| format!("{:?}", c.runtime.workers), "Some(3)"),
        (
            "TELEMETRY__ACCESS_LOG__SAMPLE",
            "0.25",
            |c| c.telemetry.access_log.sample.to_string(),
            "0.25",
        ),
        (
            "TELEMETRY__TRACES__PROPAGATION",
            "b3",
            |c| format!("{:?}", c.telemetry.traces.propagation),
            "[B3]",
        ),
        (
            "TELEMETRY__TRACES__SLOWER_THAN",
            "2s",
            |c| format!("{:?}", c.telemetry.traces.slower_than),
            "2s",
        ),
        (
            "TELEMETRY__TRACES__OTLP_ENDPOINT",
            "http://[::1]:4317",
            |c| format!("{:?}", c.export.collectors[0].endpoint.url.authority),
            "[::1]:4317",
        ),
        ("DRAIN__MINIMUM", " 2s ", |c| format!("{:?}", c.drain.minimum), "2s"),
        (
            "INBOUND__PORTS",
            "[{listen: '[::1]:1', app: '[::1]:2'}]",
            |c| c.inbound.ports[0].app.to_string(),
            "[::1]:2",
        ),
    ];
    for (name, text, field, expected) in rows {
        let variable = format!("OUTRIGGER_{name}");
        let loaded = load_all("", &[(&variable, text)], &[]);
        let config = loaded.unwrap_or_else(|faults| panic!("{name}={text}: {faults:#?}")).config;
        assert_eq!(field(&config), *expected, "{name}={text}");
    }
}

#[test]
fn what_kubernetes_says_about_services_of_our_name_is_not_ours() {
    let links = [
        ("OUTRIGGER_CONTROL_PLANE_SERVICE_HOST", "10.0.0.1"),
        ("OUTRIGGER_CONTROL_PLANE_SERVICE_PORT", "15010"),
        ("OUTRIGGER_CONTROL_PLANE_SERVICE_PORT_GRPC", "15010"),
        ("OUTRIGGER_CONTROL_PLANE_PORT", "tcp://10.0.0.1:15010"),
        ("OUTRIGGER_CONTROL_PLANE_PORT_15010_TCP", "tcp://10.0.0.1:15010"),
        ("OUTRIGGER_CONTROL_PLANE_PORT_15010_TCP_ADDR", "10.0.0.1"),
        ("OUTRIGGER_CONTROL_PLANE_PORT_15010_TCP_PORT", "15010"),
        ("OUTRIGGER_CONTROL_PLANE_PORT_15010_TCP_PROTO", "tcp"),
    ];
    assert_eq!(load_all("", &links, &[]).expect("they are ignored").config, default_config());
}

#[test]
fn what_the_command_line_reads_is_not_ours() {
    let mut theirs = super::OF_PEOPLE.map(|name| (name, "mesh.example:15010"));
    theirs[0].1 = "127.0.0.1:15010";
    assert_eq!(load_all("", &theirs, &[]).expect("they are ignored").config, default_config());
    let near = load_all("", &[("OUTRIGGER_CONTROL_PLAN", "x")], &[]).expect_err("a typo");
    assert_eq!(
        near.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["environment OUTRIGGER_CONTROL_PLAN: sets nothing; remove it"]
    );
}

const PRINTED: &str = r#"workload:
  namespace: default                      # default
  name: web-1                             # sidecar.yaml:1
  serviceAccount: default                 # default
  labels:
    app: "yes"                            # sidecar.yaml:1
trustDomain: cluster.local                # default
identity:
  certificate: svid.pem                   # sidecar.yaml:3
  key: svid.key                           # sidecar.yaml:4
  trustBundle: /ca.pem                    # environment OUTRIGGER_IDENTITY__TRUST_BUNDLE
resources: [mesh/]                        # sidecar.yaml:6
inbound:
  listen: "[::]:15006"                    # environment OUTRIGGER_INBOUND__LISTEN
  ports:
    - listen: "127.0.0.1:18080"           # sidecar.yaml:9
      app: "127.0.0.1:8080"               # sidecar.yaml:10
    - name: db                            # sidecar.yaml:11
      listen: "127.0.0.1:18081"           # sidecar.yaml:11
      app: "127.0.0.1:8081"               # sidecar.yaml:11
outbound:
  upstreams: []                           # sidecar.yaml:12
  unknown: pass                           # default
admin:
  listen: "127.0.0.1:15000"               # default
drain:
  minimum: 5s                             # default
  deadline: 30s                           # --drain-deadline
telemetry:
  accessLog:
    format: json                          # default
    sample: 1.0                           # default
  traces:
    sampleRatio: 0.01                     # default
    slowerThan: 1s                        # default
    propagation: [w3c, b3]                # default
log:
  level: info                             # default
  format: text                            # default
"#;

#[test]
fn the_effective_configuration_says_where_each_value_came_from() {
    let file = "\
workload: {name: web-1, labels: {app: 'yes'}}
identity:
  certificate: svid.pem
  key: svid.key
  trustBundle: ca.pem
resources: [mesh/]
inbound:
  ports:
    - listen: 127.0.0.1:18080
      app: 127.0.0.1:8080
    - {name: db, listen: '127.0.0.1:18081', app: '127.0.0.1:8081'}
outbound: {upstreams: []}
";
    let sidecar = Sidecar::new(file);
    let env = [
        ("OUTRIGGER_INBOUND__LISTEN", "[::]:15006"),
        ("OUTRIGGER_IDENTITY__TRUST_BUNDLE", "/ca.pem"),
    ];
    let flags = flags(&[("--drain-deadline", "drain.deadline", "30s")]);
    let env = pairs(&env).into_iter();
    let loaded = load_on("h", Some(&sidecar.file()), env, &flags).expect("all are sound");
    let printed = loaded.to_yaml();
    // The folder's name made some lines longer before it was cut out.
    let squeezed = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  #").map(str::trim_end).collect::<Vec<_>>().join("  #"))
            .collect()
    };
    assert_eq!(squeezed(&sidecar.shown(&printed)), squeezed(PRINTED));
    assert!(printed.contains("  namespace: default                      # default\n"));

    fs::write(sidecar.file(), &printed).expect("the folder is ours");
    let again = load_on("other", Some(&sidecar.file()), std::iter::empty(), &[]);
    assert_eq!(again.expect("it reads back").config, loaded.config);
    let json = loaded.to_json();
    assert_eq!(json["workload"]["labels"]["app"], "yes");
    assert_eq!(json["drain"]["deadline"], "30s");
    assert_eq!(json["telemetry"]["accessLog"]["sample"], 1.0);
}

#[test]
fn changes_are_told_apart() {
    let base = config(FULL);
    let rows: &[(&str, &str, &[&str], &[&str])] = &[
        ("level: debug", "level: info", &["log.level"], &[]),
        ("format: json", "format: text", &[], &["log.format"]),
        ("mesh/", "/mesh/", &["resources"], &[]),
        ("key: ./keys", "key: /keys", &["identity"], &[]),
        ("minimum: 1s", "minimum: 2s", &["drain"], &[]),
        ("sample: 0.5", "sample: 0.6", &["telemetry.accessLog"], &[]),
        ("[b3multi]", "[b3]", &[], &["telemetry.traces.propagation"]),
        ("sampleRatio: 0.25", "sampleRatio: 1.0", &["telemetry.traces.sampleRatio"], &[]),
        ("slowerThan: 750ms", "slowerThan: 1s", &["telemetry.traces.slowerThan"], &[]),
        ("secret-key", "other-key", &[], &["telemetry.traces"]),
        ("zipkin.example", "zipkin.test", &[], &["telemetry.traces"]),
        ("storefront", "shop", &[], &["telemetry.traces"]),
        ("zone: eu-1a", "zone: eu-1b", &[], &["workload"]),
        ("example.org", "example.com", &[], &["trustDomain"]),
        ("0.0.0.0:15006", "0.0.0.0:15007", &[], &["inbound"]),
        ("unknown: deny", "unknown: pass", &[], &["outbound"]),
        ("[::1]:15000", "[::1]:15002", &[], &["admin"]),
        ("port: 5432", "port: 5433", &[], &["probes"]),
        ("exitWithApp: true", "exitWithApp: false", &[], &["exitWithApp"]),
        ("workers: 2", "workers: 3", &[], &["workers"]),
    ];
    let absolute = |text: &str| {
        let paths = [
            ("svid.pem", "/svid.pem"),
            ("collector.pem", "/collector.pem"),
            ("mesh/,", "/m/,"),
            ("../more", "/more"),
        ];
        paths.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    for (from, to, live, restart) in rows {
        let anchored = absolute(FULL).replace("./keys", "/k");
        let old = config(&anchored);
        let from = absolute(from).replace("./keys", "/k").replace("mesh/", "/m/");
        let text = anchored.replacen(&from, to, 1);
        assert_ne!(text, anchored, "{from}");
        let expected = Changes { live: live.to_vec(), restart: restart.to_vec() };
        assert_eq!(changes(&old, &config(&text)), expected, "{from} → {to}");
        assert!(changes(&old, &old).is_empty());
    }
    let plain = Config { identity: None, ..base.clone() };
    assert_eq!(changes(&base, &plain).restart, ["identity"]);
}

#[test]
fn how_an_endpoint_is_spoken_to_follows_from_it() {
    let format = |traces: &str| {
        let file = format!("telemetry: {{traces: {{{traces}}}}}\n");
        config(&file).export.collectors.iter().map(|c| c.format).collect::<Vec<_>>()
    };
    let (grpc, http) = (Format::OtlpGrpc, Format::OtlpHttp);
    assert_eq!(format(""), []);
    assert_eq!(format("otlpEndpoint: 'http://c:4317'"), [grpc]);
    assert_eq!(format("otlpEndpoint: 'http://c:4318'"), [http]);
    assert_eq!(format("otlpEndpoint: 'https://c/v1/traces'"), [http]);
    assert_eq!(format("otlpEndpoint: 'http://c:4318', protocol: grpc"), [grpc]);
    assert_eq!(format("otlpEndpoint: 'http://c:1', protocol: http"), [http]);
    assert_eq!(format("zipkinEndpoint: 'http://z'"), [Format::Zipkin]);
}

#[test]
fn what_the_headers_of_the_export_say_is_never_shown() {
    let loaded = load_all(FULL, &[], &[]).expect("it is sound");
    assert!(!loaded.to_yaml().contains("secret-key"));
    let shown = &loaded.to_json()["telemetry"]["traces"]["headers"];
    assert_eq!(shown["authorization"], "(hidden)");
    assert!(!format!("{:?}", loaded.config).contains("secret-key"));
}

/// What a field's own decoder accepts is listed in `fields`, and the reverse:
/// each field, set by flag to nonsense, is complained about as itself.
#[test]
fn every_listed_field_is_decoded() {
    for (path, _) in super::fields::FIELDS {
        let faults = load_all("", &[], &[("--x", path, "\"\"")]).expect_err(path);
        let found = faults.iter().any(|fault| fault.starts_with(&format!("--x: {path}:")));
        let section = path.split_once('.').map_or(*path, |(section, _)| section);
        let refused =
            faults.iter().any(|fault| fault.contains(&format!("{section}: is not supported")));
        assert!(found || refused, "{path}: {faults:?}");
    }
}

proptest! {
    #[test]
    fn random_variables_never_panic(
        field in 0..super::fields::FIELDS.len(),
        text in "[-a-z0-9 \\n:,{}\\[\\]&*'\"./]{0,24}",
    ) {
        let (path, _) = super::fields::FIELDS[field];
        let _ = load_on("h", None, std::iter::empty(), &flags(&[("--x", path, &text)]));
    }

    #[test]
    fn whatever_is_printed_reads_back(
        labels in prop::collection::btree_map("[a-z]{1,4}", "([a-z0-9][a-z0-9.]{0,4}[a-z0-9])?", 0..4),
        name in "[a-z0-9]{1,6}",
    ) {
        let given = serde_json::json!({"labels": labels, "name": name}).to_string();
        let env = pairs(&[("OUTRIGGER_WORKLOAD", &given)]).into_iter();
        let loaded = load_on("h", None, env, &[]).expect("all labels are legal");
        let printed = loaded.to_yaml();
        let again = yaml::parse(&printed, &Origin::Default).expect("it is YAML");
        prop_assert_eq!(print::json(&again[0]), loaded.to_json(), "{}", printed);
    }
}
