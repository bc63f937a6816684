//! Whose requests a route is about: by the service that was dialled, its port, and where the caller
//! is.

use crate::harness::yaml::{http_route, http_route_with, service, workload};
use crate::harness::{App, Echoes, Lone, Pair, Wire, get, row, spiffe, table};

const SET: &str = "
- filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-set, value: set}]}}]
  backendRefs: [{name: echo, port: 80}]
";

/// Two ports of `echo`, and its app behind both.
fn two_ports(echoes: &Echoes) -> String {
    let services = "---\napiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: default}\n\
         spec: {selector: {app: echo}, ports: [\
         {name: one, port: 80, targetPort: app, appProtocol: http}, \
         {name: two, port: 8080, targetPort: app, appProtocol: http}]}\n";
    services.to_owned() + &workload("echo", "echo", echoes.app("echo").address)
}

fn parented(documents: &str, parent: &str) -> String {
    let whole = "parentRefs: [{kind: Service, group: \"\", name: echo}]";
    assert!(documents.contains(whole));
    documents.replace(whole, &format!("parentRefs: [{{kind: Service, group: \"\", {parent}}}]"))
}

#[test]
fn a_route_is_about_the_dialled_service_whatever_the_host_says() {
    let echoes = Echoes::named(["echo", "other"]);
    let yaml = echoes.with(&http_route("echo", SET));
    let caller = Lone::with(&yaml).upstream("other.default:80").start();
    table(
        caller.services[0],
        &echoes,
        &[row("GET /").host("other").reaches("echo").told("x-set: set")],
    );
    table(
        caller.services[1],
        &echoes,
        &[row("GET /").host("echo").reaches("other").untold("x-set")],
    );
}

#[test]
fn whoever_names_the_service_on_the_common_listener_gets_its_route() {
    let echoes = Echoes::named(["echo", "other"]);
    let caller = Lone::with(&echoes.with(&http_route("echo", SET))).start();
    let rows = [
        row("GET /").host("echo").reaches("echo").told("x-set: set"),
        row("GET /").host("echo.default:80").reaches("echo").told("x-set: set"),
        row("GET /").host("other.default").reaches("other").untold("x-set"),
    ];
    table(caller.by_host, &echoes, &rows);
}

#[test]
fn a_route_may_be_about_one_port_alone_by_number_or_name() {
    let echoes = Echoes::named(["echo"]);
    for parent in ["name: echo, port: 80", "name: echo, sectionName: one"] {
        let yaml = two_ports(&echoes) + &parented(&http_route("echo", SET), parent);
        let yaml = yaml.replace(
            "backendRefs: [{name: echo, port: 80}]",
            "backendRefs: [{name: echo, port: 8080}]",
        );
        let caller = Lone::with(&yaml).upstream("echo.default:8080").start();
        let rows = [row("GET /").reaches("echo").told("x-set: set")];
        table(caller.services[0], &echoes, &rows);
        table(caller.services[1], &echoes, &[row("GET /").reaches("echo").untold("x-set")]);
    }
}

#[test]
fn a_route_without_a_port_is_about_all_of_them() {
    let echoes = Echoes::named(["echo"]);
    let yaml = two_ports(&echoes) + &http_route("echo", SET);
    let caller = Lone::with(&yaml).upstream("echo.default:8080").start();
    for at in &caller.services {
        table(*at, &echoes, &[row("GET /").reaches("echo").told("x-set: set")]);
    }
}

#[test]
fn a_route_may_have_several_parents() {
    let echoes = Echoes::named(["echo", "other"]);
    let parents = "name: echo}, {kind: Service, group: \"\", name: other";
    let yaml = echoes.with(&parented(&http_route("both", SET), parents));
    let caller = Lone::with(&yaml).upstream("other.default:80").start();
    for at in &caller.services {
        table(*at, &echoes, &[row("GET /").reaches("echo").told("x-set: set")]);
    }
}

/// The producer's route, and the consumers' own.
fn consumers(echoes: &Echoes) -> String {
    let producer = "- backendRefs: [{name: v1, port: 80}]";
    let consumer = "
- matches: [{path: {value: /mine}}]
  backendRefs: [{name: v2, namespace: default, port: 80}]
";
    let own = parented(&http_route("own", consumer), "name: echo, namespace: default").replace(
        "metadata: {name: own, namespace: default}",
        "metadata: {name: own, namespace: consumer}",
    );
    echoes.with(&(http_route("echo", producer) + &own))
}

#[test]
fn a_consumers_route_stands_in_the_place_of_the_producers_for_its_namespace() {
    let echoes = Echoes::four();
    let caller = Lone::with(&consumers(&echoes)).namespace("consumer").start();
    let rows = [row("GET /mine").reaches("v2"), row("GET /else").refused(404, "no-route")];
    table(caller.echo(), &echoes, &rows);
}

#[test]
fn a_consumers_route_changes_nothing_for_others() {
    let echoes = Echoes::four();
    let rows = [row("GET /mine").reaches("v1"), row("GET /else").reaches("v1")];
    for namespace in ["default", "third"] {
        let caller = Lone::with(&consumers(&echoes)).namespace(namespace).start();
        table(caller.echo(), &echoes, &rows);
    }
}

#[test]
fn backends_are_in_the_routes_namespace_unless_they_name_another() {
    let echoes = Echoes::four();
    let other = service("v1").replace("namespace: default", "namespace: other")
        + &workload("v1", "v1", echoes.app("v3").address)
            .replace("namespace: default", "namespace: other");
    let rules = "
- matches: [{path: {value: /own}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /other}}]
  backendRefs: [{kind: Service, group: '', name: v1, namespace: other, port: 80}]
";
    let caller = Lone::with(&echoes.with(&(http_route("echo", rules) + &other))).start();
    let rows = [row("GET /own").reaches("v1"), row("GET /other").reaches("v3")];
    table(caller.echo(), &echoes, &rows);
}

#[test]
fn a_backend_is_the_service_itself_without_its_routes() {
    let echoes = Echoes::four();
    let to = |rules: &str| format!("- backendRefs: [{{name: {rules}, port: 80}}]");
    let yaml = echoes.with(&http_route("echo", &to("v1")));
    let chained = parented(&http_route("v1", &to("v2")), "name: v1");
    let caller = Lone::with(&(yaml + &chained)).upstream("v1.default:80").start();
    table(caller.services[0], &echoes, &[row("GET /").reaches("v1")]);
    table(caller.services[1], &echoes, &[row("GET /").reaches("v2")]);
}

#[test]
fn a_rule_is_known_by_its_name_in_log_and_metrics() {
    let echoes = Echoes::four();
    let rules = "
- name: named
  matches: [{path: {value: /named}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /numbered}}]
  backendRefs: [{name: v2, port: 80}]
";
    let caller = Lone::with(&echoes.with(&http_route("shop", rules))).start();
    let cases = [("/named", "v1", "shop.default/named"), ("/numbered", "v2", "shop.default/1")];
    for (path, app, route) in cases {
        assert_eq!(caller.ask(get(path)).text(), app);
        assert_eq!(caller.sidecar.await_entry(path)["route"], route);
        let label = format!("route=\"{route}\"");
        assert_eq!(caller.sidecar.metric("outrigger_requests_total", &[&label]), 1.0, "{route}");
    }
    assert!(caller.sidecar.get("/routes").text().contains("shop.default/named"));
}

#[test]
fn explain_says_which_rule_such_a_request_would_get() {
    let echoes = Echoes::four();
    let rules = "
- name: beta
  matches: [{path: {value: /x}, headers: [{name: beta, value: 'yes'}]}]
  backendRefs: [{name: v2, port: 80}]
- name: rest
  backendRefs: [{name: v1, port: 80}]
";
    let caller = Lone::with(&echoes.with(&http_route("shop", rules))).start();
    let ask = |more: &str| {
        let path = format!("/explain?service=echo.default:80&method=GET&path=/x{more}");
        caller.sidecar.json(&path).to_string()
    };
    let (beta, rest) = (ask("&header=beta:yes"), ask(""));
    assert!(beta.contains("shop.default/beta"), "{beta}");
    assert!(beta.contains("v2.default:80"), "{beta}");
    assert!(rest.contains("shop.default/rest"), "{rest}");
}

#[test]
fn a_route_with_a_hostname_leaves_other_hosts_to_no_one() {
    let echoes = Echoes::four();
    let rules = "- backendRefs: [{name: v1, port: 80}]";
    let route = http_route_with("echo", "hostnames: [shop.example]", rules);
    let caller = Lone::with(&echoes.with(&route)).start();
    let mut wire = Wire::connect(caller.echo());
    let answer = wire.ask("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(answer.text(), "v1");
    assert_eq!(wire.ask("GET / HTTP/1.1\r\nHost: echo\r\n\r\n").reason(), Some("no-route"));
}

#[test]
fn routes_hold_between_two_sidecars_as_well() {
    let app = App::ok();
    let rules = "
- matches: [{path: {value: /old}}]
  filters:
  - {type: URLRewrite, urlRewrite: {hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: set}]}}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-told, value: told}]}}
  backendRefs: [{name: app, port: 80}]
";
    let mesh = Pair::of(&app).resources(&parented(&http_route("app", rules), "name: app")).start();
    let answer = mesh.ask(get("/old/x?y"));
    assert_eq!((answer.text().as_str(), answer.header("x-told")), ("ok", Some("told")));
    let seen = app.only_request();
    assert_eq!((seen.target(), seen.header("host")), ("/new/x?y", Some("inner.example")));
    assert_eq!(seen.header("x-set"), Some("set"));
    assert_eq!(seen.header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    assert_eq!(mesh.ask(get("/else")).reason(), Some("no-route"));
}

#[test]
fn an_upgrade_follows_its_route() {
    let app = App::raw(|mut wire| {
        let Ok(request) = wire.head() else { return };
        assert_eq!((request.target(), request.header("x-set")), ("/inner", Some("set")));
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        );
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    });
    let echoes = Echoes::named(["echo", "v1"]);
    let rules = "
- matches: [{headers: [{name: upgrade, value: echo}]}]
  filters:
  - {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /inner}}}
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: set}]}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: v1, port: 80}}}
  backendRefs: [{name: ws, port: 80}]
- backendRefs: [{name: v1, port: 80}]
";
    let yaml = echoes.yaml() + &service("ws") + &workload("ws", "ws", app.address);
    let caller = Lone::with(&(yaml + &http_route("echo", rules))).start();
    let mut wire = caller.connect();
    let head = "GET /ws HTTP/1.1\r\nHost: echo\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    assert_eq!(wire.send(head).head().expect("an answer").status(), 101);
    for word in ["ping", "pong"] {
        assert_eq!(wire.send(word).take(4), word.as_bytes());
    }
    assert_eq!(caller.ask(get("/ws")).text(), "v1");
}
