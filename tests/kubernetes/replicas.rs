//! Questions that only all replicas together can answer.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{App, Cluster, Plane, Sidecar, eventually, pod, service, slice};

const HOME: &str = "outrigger-system";

/// A replica as its Deployment would make it.
fn replica(cluster: &Cluster, name: &str, ip: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "outrigger",
            "app.kubernetes.io/component": "control-plane"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "control-plane", "image": "i"}]},
    });
    cluster.run_pod(HOME, &pod, &[ip]);
}

/// Both replicas of a cluster, each with its pod.
fn two(cluster: &Cluster) -> [Plane; 2] {
    cluster.namespace(HOME, &["default"]);
    let start = |name: &str, ip: &str, port: Option<u16>| {
        replica(cluster, name, ip);
        let arguments = ["--replica", name];
        let mut plane = match port {
            Some(port) => {
                let at = format!("{ip}:{port}").parse().expect("an address");
                Plane::at(cluster.kubeconfig(), at, &arguments)
            }
            None => Plane::with(cluster.kubeconfig(), &arguments),
        };
        plane.wait_ready();
        plane
    };
    let one = start("one", "127.0.0.1", None);
    let two = start("two", "127.0.0.9", Some(one.address.port()));
    [one, two]
}

/// What `check --strict-ready` says, and whether it is good.
fn strict_ready(plane: &Plane) -> (Value, bool) {
    let output = plane.run(&["check", "--strict-ready", "-o", "json"]);
    let told = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (told, output.status.success())
}

/// Why the other one said nothing, as the graph's page has it.
fn silence(plane: &Plane, replica: &str) -> Option<String> {
    let graph = plane.json("/api/graph?window=300");
    let all = graph["replicas"].as_array().expect("a list");
    assert_eq!(all.len(), 2, "{graph}");
    let of = all.iter().find(|of| of["replica"] == replica).expect("it is named");
    of["silence"].as_str().map(str::to_owned)
}

/// `from → to requests tls`, and how many sidecars tell of each node.
fn picture(plane: &Plane) -> Vec<String> {
    let graph = plane.json("/api/graph?window=300");
    let edges = graph["edges"].as_array().expect("a list").iter().map(|of| {
        format!("{} → {} {} {}", of["from"], of["to"], of["requests"], of["tls"]).replace('"', "")
    });
    let nodes = graph["nodes"].as_array().expect("a list").iter();
    let nodes = nodes.filter(|of| of["sidecars"] != 0);
    edges
        .chain(nodes.map(|of| format!("{} {}", of["name"], of["sidecars"]).replace('"', "")))
        .collect()
}

#[test]
fn whoever_is_asked_answers_for_all() {
    let Some(cluster) = Cluster::own() else { return };
    cluster.namespace("shop", &["web", "caller"]);
    cluster.create("/api/v1/namespaces/shop/services", &service("web"));
    let web = cluster.run_pod("shop", &pod("web-1", "web"), &["10.244.6.1"]);
    let caller = cluster.run_pod("shop", &pod("caller-1", "caller"), &["10.244.6.9"]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&web]));
    let planes = two(&cluster);
    let app = App::named("web");
    let token = |account: &str, pod: &Value| cluster.token("shop", account, "outrigger", Some(pod));
    let _web = Sidecar::start(&planes[0], &web, &token("web", &web), Some(&app));
    let caller = Sidecar::start(&planes[1], &caller, &token("caller", &caller), None);
    eventually("the app answers", || caller.ask("web.shop").is_some_and(|a| a.status == 200));
    for _ in 0..20 {
        assert_eq!(caller.ask("web.shop").map(|answer| answer.status), Some(200));
    }
    // The caller's sidecar tells one of them, the called one's the other: both say both, and once.
    let is_edge = |line: &String| line.starts_with("caller.shop → web.shop ");
    let mut told = Vec::new();
    eventually("both say the same of all", || {
        told = picture(&planes[0]);
        let count = told
            .iter()
            .find(|line| is_edge(line))
            .and_then(|line| line.split(' ').nth(3)?.parse::<u32>().ok());
        // Those that were asked before the app was known are failures of the caller's alone.
        count.is_some_and(|count| count >= 21) && told == picture(&planes[1])
    });
    for line in ["web.shop 1", "caller.shop 1"] {
        assert!(told.iter().any(|known| known == line), "{told:?}");
    }
    assert!(told.iter().any(|line| is_edge(line) && line.ends_with(" mtls")), "{told:?}");
    for plane in &planes {
        // Each sidecar tells its part when it is its time.
        let mut id = String::new();
        eventually("both ends of a call are one trace", || {
            let told = plane.json("/api/traces?service=web.shop");
            let traces = told["traces"].as_array().expect("a list");
            let whole = traces.iter().find(|of| of["spans"] == 2);
            id = whole.and_then(|of| of["traceId"].as_str()).unwrap_or_default().to_owned();
            !id.is_empty()
        });
        let trace = plane.json(&format!("/api/trace?id={id}"));
        let of = |at: usize| trace["spans"][at]["serviceOf"].as_str().map(str::to_owned);
        let ends = [of(0), of(1)].map(Option::unwrap_or_default);
        assert_eq!(ends, ["caller.shop", "web.shop"], "{trace}");
        assert_eq!(plane.json("/api/health")["sidecars"], 2);
        let certificates = plane.json("/api/certificates");
        let workloads = certificates["workloads"].as_array().expect("a list");
        let lasts = |of: &Value| of["notBeforeMs"].as_i64() < of["notAfterMs"].as_i64();
        assert!(workloads.len() == 2 && workloads.iter().all(lasts), "{certificates}");
        let service = plane.json("/api/service?name=web.shop");
        assert_eq!(service["callers"][0]["from"], "caller.shop", "{service}");
        let stat = plane.run(&["stat", "--window", "5m"]);
        let remark = String::from_utf8_lossy(&stat.stderr).into_owned();
        assert!(remark.contains("told by 2 sidecars to 2 replicas"), "{remark}");
    }
}

/// `outrigger tap`, under way, and what it says line by line.
struct Watching {
    child: Child,
    shown: Receiver<String>,
    said: Receiver<String>,
}

impl Watching {
    #[track_caller]
    fn begin(plane: &Plane, arguments: &[&str]) -> Self {
        let mut command = plane.command(&[&["tap", "-o", "json"], arguments].concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let shown = lines(child.stdout.take().expect("it is piped"));
        let said = lines(child.stderr.take().expect("it is piped"));
        Self { child, shown, said }
    }

    /// The next remark.
    #[track_caller]
    fn remark(&self) -> String {
        self.said.recv_timeout(Duration::from_secs(30)).expect("another remark")
    }

    /// Who saw a request, and in which direction.
    #[track_caller]
    fn seen(&self) -> [Value; 2] {
        let line = self.shown.recv_timeout(Duration::from_secs(30)).expect("another request");
        let line: Value = serde_json::from_str(&line).expect("an object");
        [line["workload"].clone(), line["direction"].clone()]
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

#[test]
fn a_tap_shows_what_sidecars_of_every_replica_see() {
    const WATCHES: &str = "the control plane watches requests";
    let Some(cluster) = Cluster::own() else { return };
    cluster.namespace("shop", &["web", "caller"]);
    cluster.create("/api/v1/namespaces/shop/services", &service("web"));
    let web = cluster.run_pod("shop", &pod("web-1", "web"), &["10.244.8.1"]);
    let caller = cluster.run_pod("shop", &pod("caller-1", "caller"), &["10.244.8.9"]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&web]));
    let [one, two] = two(&cluster);
    let app = App::named("web");
    let token = |account: &str, pod: &Value| cluster.token("shop", account, "outrigger", Some(pod));
    let web = Sidecar::start(&one, &web, &token("web", &web), Some(&app));
    let caller = Sidecar::start(&two, &caller, &token("caller", &caller), None);
    let ask = || caller.ask("web.shop").is_some_and(|answer| answer.status == 200);
    eventually("the app answers", ask);

    // A workload that is connected to the other one has a name here too.
    let alone = Watching::begin(&one, &["caller-1", "-n", "shop", "--count", "1"]);
    assert!(alone.remark().contains("watching workload caller-1.shop: 1 sidecar, by one, two;"));
    eventually("it is asked", || caller.process.log().contains(WATCHES));
    assert!(ask());
    assert_eq!(alone.seen(), [json!("caller-1.shop"), json!("outbound")]);
    assert!(alone.remark().contains("1 request shown"));
    eventually("the other one hears the end", || {
        two.process.log().contains("another replica taps no more")
    });

    let rate = 20;
    let began = Instant::now();
    let all = Watching::begin(&one, &["web", "-n", "shop", "--rate", "20"]);
    let remark = all.remark();
    assert!(remark.contains("2 sidecars, by one, two;") && !remark.contains("not shown"));
    let asked = |of: &Sidecar| of.process.log().matches(WATCHES).count();
    eventually("both are asked", || asked(&web) == 1 && asked(&caller) == 2);
    assert!(ask());
    let mut ends = [all.seen(), all.seen()];
    ends.sort_by_key(|[workload, _]| workload.to_string());
    assert_eq!(ends[0], [json!("caller-1.shop"), json!("outbound")]);
    assert_eq!(ends[1], [json!("web-1.shop"), json!("inbound")]);
    // Each replica alone would let twice as many through together.
    assert!((0..200).all(|_| ask()));
    let mut shown = 2;
    while all.shown.recv_timeout(Duration::from_millis(500)).is_ok() {
        shown += 1;
    }
    let most = rate + 2 + (f64::from(rate) * began.elapsed().as_secs_f64()).ceil() as i32;
    assert!(shown >= rate && shown <= most, "{shown} of at most {most}");

    two.process.signal(libc::SIGSTOP);
    let silence = "what sidecars of replica two see is not shown: it said nothing for 5 s";
    assert!(all.remark().contains(silence));
    two.process.signal(libc::SIGCONT);
    assert_eq!(all.remark(), "watching through two too");
    let ends = two.process.log().matches("another replica taps no more").count();
    drop(all);
    // What was asked before it stopped, and what was asked again.
    eventually("the other one hears the end", || {
        let log = two.process.log();
        let begun = log.matches("another replica taps requests").count();
        let ended = log.matches("another replica taps no more").count();
        ended > ends && ended == begun
    });
    let late = Watching::begin(&two, &["-n", "shop"]);
    assert!(late.remark().contains("2 sidecars, by two, one;"));
    drop(one);
    let remark = late.remark();
    assert!(remark.contains("what sidecars of replica one see is not shown"), "{remark}");
    cluster.delete(&format!("/api/v1/namespaces/{HOME}/pods/one"));
    assert_eq!(late.remark(), "watching through no other replica too");
}

#[test]
fn one_that_says_nothing_is_named_in_time() {
    let Some(cluster) = Cluster::own() else { return };
    let [one, two] = two(&cluster);
    eventually("both are heard", || {
        silence(&one, "two").is_none() && silence(&two, "one").is_none()
    });
    // It is there, takes connections, and says nothing.
    two.process.signal(libc::SIGSTOP);
    eventually("its silence is seen", || {
        let asked = Instant::now();
        let why = silence(&one, "two");
        // The page is one answer, of a second and what it takes to make it on a busy machine.
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        why.is_some_and(|why| why.contains("did not answer within 1 s"))
    });
    let asked = Instant::now();
    assert!(silence(&one, "two").is_some());
    let health = one.json("/api/health").to_string();
    assert!(health.contains("Replica two does not say"), "{health}");
    let (told, is_ready) = strict_ready(&one);
    assert!(!is_ready && told["notAsked"][0]["replica"] == "two", "{told}");
    let stat = one.run(&["stat"]);
    let remark = String::from_utf8_lossy(&stat.stderr).into_owned();
    assert!(stat.status.success() && remark.contains("without what is told to replica two"));
    assert!(remark.contains("to 1 of 2 replicas"), "{remark}");
    println!("five answers beside a silent replica took {:?}", asked.elapsed());
    two.process.signal(libc::SIGCONT);
    eventually("it is heard again", || silence(&one, "two").is_none());
    drop(two);
    eventually("it is gone", || silence(&one, "two").is_some());
}

#[test]
fn who_comes_in_plaintext_is_asked_of_every_replica() {
    let Some(cluster) = Cluster::own() else { return };
    let [one, two] = two(&cluster);
    eventually("both were asked", || {
        let (told, is_ready) = strict_ready(&one);
        is_ready && told["replicas"] == json!(2)
    });
    let path = format!("/api/v1/namespaces/{HOME}/pods/two/status");
    let at = |ip: &str| json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
    // Nothing answers where its pod is.
    cluster.done("PATCH", &path, &at("127.0.0.10"));
    eventually("one could not be asked", || {
        let (told, is_ready) = strict_ready(&one);
        !is_ready && told["notAsked"][0]["replica"] == "two"
    });
    // Another than the one that is looked for answers.
    cluster.done("PATCH", &path, &at("127.0.0.1"));
    eventually("the wrong one answered", || {
        let (told, is_ready) = strict_ready(&one);
        let why = told["notAsked"][0]["why"].as_str().unwrap_or_default();
        !is_ready && why.contains("\"one\" answers there")
    });
    cluster.done("PATCH", &path, &at("127.0.0.9"));
    eventually("both were asked again", || {
        let (told, is_ready) = strict_ready(&one);
        is_ready && told["replicas"] == json!(2)
    });
    // It alone is known, and answers for all.
    drop(two);
    cluster.delete(&format!("/api/v1/namespaces/{HOME}/pods/two"));
    eventually("there is one", || {
        let (told, is_ready) = strict_ready(&one);
        is_ready && told["replicas"] == json!(1)
    });
}
