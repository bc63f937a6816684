//! Questions that only all replicas together can answer.

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
    let web = cluster.run_pod("shop", &pod("web-1", "web"), &["10.244.1.1"]);
    let caller = cluster.run_pod("shop", &pod("caller-1", "caller"), &["10.244.1.9"]);
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
