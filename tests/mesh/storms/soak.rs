//! A pair of sidecars in a mesh with all that it has to offer, for long: an endpoint comes or goes and
//! policies change every second, certificates last 5 s, the control plane is killed every minute.
//! Not a request may be lost, and nothing may pile up.
//!
//! 12 s unless `OUTRIGGER_LONG` is set: then half an hour, or as many minutes as `OUTRIGGER_SOAK` says.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::alone;
use super::open_loop::{self, Asked, Kind, percentile};
use crate::harness::yaml::{access, http_route, limits, policy, service, workload};
use crate::harness::{App, ControlPlane, Member, eventually, within};
use crate::tracing::collector::Collector;

const WEB: &str = "web.default:80";
const ACTIVE: &str = "outrigger_connections_active";
const CALLERS: u32 = 8;
/// Of what the pair can answer at most.
const SHARE: f64 = 0.7;
/// What is allocated once, such as buffers for each kind of change, is there by then.
const WARM: Duration = Duration::from_secs(120);
/// Of the long run: half an hour of it is 3 MiB.
const SLOPE_KIB: f64 = 100.0;

/// How long, by slices that end with a line of the table.
fn length() -> (u32, Duration) {
    let minutes = std::env::var("OUTRIGGER_SOAK").ok().and_then(|minutes| minutes.parse().ok());
    let minute = Duration::from_secs(60);
    match std::env::var_os("OUTRIGGER_LONG") {
        Some(_) => (minutes.unwrap_or(30), minute),
        None => minutes.map_or((1, Duration::from_secs(12)), |minutes| (minutes, minute)),
    }
}

/// Answers `ok`, counts, and keeps nothing.
fn app() -> (App, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let app = App::raw(move |mut wire| {
        while wire.message(false).is_ok() && wire.try_send(App::answer("ok")).is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (app, served)
}

fn load(to: SocketAddr, per_second: f64, time: Duration) -> Vec<Asked> {
    let kind = Kind { host: "app.default", lines: "", per_second };
    open_loop::paced(to, kind, CALLERS, time)
}

struct Scene {
    plane: ControlPlane,
    caller: Member,
    web: Member,
    /// An instance without a sidecar, that is there every other second.
    extra: String,
    extra_served: Arc<AtomicUsize>,
    collector: Collector,
    steps: u64,
    /// Since when, and what both sidecars held then, in KiB.
    samples: Vec<(Duration, [f64; 2])>,
    _apps: [App; 2],
}

/// What callers are told: always the same, in other words each second.
fn policies(step: u64) -> String {
    let timeout = 8 + step % 5;
    let traffic = format!(
        "retry: {{on: [connect-failure, refused-stream, reset-before-response, gateway-error], maxRetries: 2}}\n\
         timeouts: {{request: {timeout}s, responseHeaders: {timeout}s}}\n\
         circuitBreaker: {{consecutiveFailures: 5, failureRate: {{threshold: 50}}}}\n\
         limits: {{maxRequests: {}, maxConnections: 500}}\n",
        1_000 + step % 7
    );
    let rules = format!(
        "selector: {{matchLabels: {{app: web}}}}, mtls: strict, rules: [\
         {{action: allow, from: [{{identities: ['spiffe://cluster.local/ns/default/sa/client']}}]}}, \
         {{action: deny, to: [{{paths: ['/never/{}/*']}}]}}]",
        step % 3
    );
    let rates = format!(
        "selector: {{matchLabels: {{app: web}}}}, \
         limits: [{{key: identity, requests: {}, per: 1s}}], concurrency: {{limit: 500}}",
        100_000 + step % 4
    );
    let route = format!(
        "- name: traced\n  matches: [{{headers: [{{name: x-step, value: s{}}}]}}]\n  \
         backendRefs: [{{name: web, port: 80}}]\n- name: rest\n  \
         backendRefs: [{{name: web, port: 80}}]\n",
        step % 2
    );
    [
        policy("web", &traffic),
        access("name: web", &rules),
        limits("name: web", &rates),
        http_route("web", &route).replace("name: echo", "name: web"),
    ]
    .concat()
}

impl Scene {
    #[track_caller]
    fn set() -> Self {
        let plane = ControlPlane::start(&["--cert-lifetime", "5s", "--lease", "30s"]);
        plane.apply(&format!("{}{}", service("web"), policies(0)));
        let ((web_app, _), (extra_app, extra_served)) = (app(), app());
        let collector = Collector::http();
        let telemetry = format!(
            "telemetry: {{accessLog: {{format: json}}, traces: {{otlpEndpoint: \"http://{}\", \
             protocol: http, sampleRatio: 0.01}}}}\n",
            collector.address
        );
        // Each start is a use; certificates end while a busy machine starts the control plane.
        let member = |name: &str, account: &str| {
            let label = format!("app={account}");
            let token = plane.token(account, &["--label", &label, "--uses", "1000"]);
            plane.plan(name).token(&token).config(&telemetry)
        };
        let web = member("web-1", "web").app(web_app.address).start();
        let caller = member("client-1", "client").calls(WEB).start();
        eventually("the instance is known", || caller.endpoints(WEB) == Some(1));
        Self {
            extra: workload("extra", "web", extra_app.address),
            plane,
            caller,
            web,
            extra_served,
            collector,
            steps: 0,
            samples: Vec::new(),
            _apps: [web_app, extra_app],
        }
    }

    fn members(&self) -> [&Member; 2] {
        [&self.caller, &self.web]
    }

    fn open_files(&self) -> [usize; 2] {
        self.members().map(|member| member.sidecar.open_files())
    }

    fn rss_kib(&self) -> [u64; 2] {
        self.members().map(|member| member.sidecar.rss_kib())
    }

    fn rotations(&self) -> [f64; 2] {
        self.members().map(|member| {
            let labels = ["result=\"success\""];
            member.sidecar.metric("outrigger_certificate_rotations_total", &labels)
        })
    }

    /// Whatever an operator changes in a second.
    fn step(&mut self) {
        self.steps += 1;
        let operator = self.plane.operator();
        let applied = operator.apply(&policies(self.steps));
        let changed = match self.steps % 2 {
            1 => operator.apply(&self.extra),
            _ => operator.delete(&self.extra),
        };
        assert!(applied.is_ok() && changed.is_ok(), "{applied:?} {changed:?}");
    }

    /// A stretch of load, in which the control plane is killed once.
    fn slice(&mut self, begun: Instant, per_second: f64, time: Duration) -> Vec<Asked> {
        let until = Instant::now() + time;
        let kill = until - time / 2;
        let (to, mut is_killed) = (self.caller.upstreams[0], false);
        let load = thread::spawn(move || load(to, per_second, time));
        while Instant::now() < until {
            let next = Instant::now() + Duration::from_secs(1);
            if !is_killed && Instant::now() >= kill {
                is_killed = true;
                self.plane.restart();
            }
            self.step();
            let rss = self.rss_kib().map(|kib| kib as f64);
            self.samples.push((begun.elapsed(), rss));
            thread::sleep(next.min(until).saturating_duration_since(Instant::now()));
        }
        load.join().expect("it runs to its end")
    }

    /// How much each sidecar grows in a minute, in KiB, by least squares; `None` of too few samples.
    fn slopes(&self) -> Option<[f64; 2]> {
        let all = self.samples.last()?.0;
        let warm = WARM.min(all / 3);
        let late: Vec<_> = self.samples.iter().filter(|(at, _)| *at >= warm).collect();
        if late.len() < 3 {
            return None;
        }
        let count = late.len() as f64;
        let minutes = |at: &Duration| at.as_secs_f64() / 60.0;
        let mean_at = late.iter().map(|(at, _)| minutes(at)).sum::<f64>() / count;
        Some([0, 1].map(|of| {
            let mean = late.iter().map(|(_, rss)| rss[of]).sum::<f64>() / count;
            let both =
                |(at, rss): &&(Duration, [f64; 2])| (minutes(at) - mean_at) * (rss[of] - mean);
            let spread: f64 = late.iter().map(|(at, _)| (minutes(at) - mean_at).powi(2)).sum();
            late.iter().map(both).sum::<f64>() / spread
        }))
    }

    /// Lines of the caller's access log, and entries that nobody took in time.
    fn logged(&self) -> usize {
        let log = File::open(self.caller.sidecar.folder.path("access.log")).expect("it is there");
        let dropped = self.caller.sidecar.metric("outrigger_access_log_dropped_total", &[]);
        BufReader::new(log).split(b'\n').count() + dropped as usize
    }
}

#[test]
fn a_pair_under_all_that_it_offers_loses_nothing_and_keeps_nothing() {
    let _alone = alone();
    let (slices, time) = length();
    let mut scene = Scene::set();
    let most = load(scene.caller.upstreams[0], f64::INFINITY, Duration::from_secs(2));
    assert!(most.iter().all(Asked::is_well), "before anything happens");
    let rate = most.len() as f64 / 2.0 * SHARE;
    eprintln!("{} of at most {:.0} requests a second", rate as u64, rate / SHARE);
    // The callers of that have gone; connections between the sidecars stay, and are not to become more.
    eventually("they are gone", || scene.caller.sidecar.metric(ACTIVE, &["outbound"]) == 0.0);
    let (files, warm) = (scene.open_files(), scene.rss_kib());
    eprintln!("at the start: descriptors {files:?}, RSS {warm:?} KiB");
    eprintln!(
        "| minute | requests | lost | p50 ms | p99 ms | RSS KiB, caller and called | descriptors | certificates |"
    );
    let (begun, mut all, mut lost) = (Instant::now(), most.len(), Vec::new());
    for number in 1..=slices {
        let asked = scene.slice(begun, rate, time);
        let took: Vec<Duration> = asked.iter().map(|one| one.took).collect();
        let [p50, p99] = [50, 99].map(|of| percentile(took.clone(), of).as_secs_f64() * 1e3);
        all += asked.len();
        let failed = asked.into_iter().filter(|one| !one.is_well()).collect::<Vec<_>>();
        eprintln!(
            "| {number} | {} | {} | {p50:.1} | {p99:.1} | {:?} | {:?} | {:?} |",
            took.len(),
            failed.len(),
            scene.rss_kib(),
            scene.open_files(),
            scene.rotations(),
        );
        lost.extend(failed);
    }
    assert!(
        lost.is_empty(),
        "{} of {all} requests: {:#?}",
        lost.len(),
        &lost[..lost.len().min(20)]
    );
    let operator = scene.plane.operator();
    operator.delete(&scene.extra).expect("the control plane is there");
    let (slopes, seconds) = (scene.slopes(), begun.elapsed().as_secs_f64());
    eprintln!(
        "{all} requests, {} changes and {slices} kills of the control plane in {seconds:.0} s; grows by {:.0?} KiB a minute",
        scene.steps,
        slopes.unwrap_or_default(),
    );
    let rotations = scene.rotations();
    assert!(rotations.iter().all(|count| *count >= seconds / 8.0), "{rotations:?} certificates");
    assert!(scene.extra_served.load(Ordering::SeqCst) > 0, "nobody called the extra instance");
    eventually("every request is logged", || scene.logged() >= all);
    eventually("some are traced", || !scene.collector.spans().is_empty());
    within(Duration::from_secs(20), "descriptors are given back", || {
        let now = scene.open_files();
        (0..2).all(|of| now[of] <= files[of] + 4)
    });
    for member in scene.members() {
        let held = |name, of| member.sidecar.metric(name, of);
        eventually("nothing is under way", || {
            held(ACTIVE, &["outbound"])
                + held("outrigger_requests_open", &[])
                + held("outrigger_limit_in_use", &["limit=\"requests\""])
                + held("outrigger_concurrency", &["of=\"under-way\""])
                == 0.0
        });
    }
    if slices >= 10 {
        let slopes = slopes.expect("ten minutes of samples");
        assert!(slopes.iter().all(|slope| *slope <= SLOPE_KIB), "{slopes:?} KiB a minute");
    }
}
