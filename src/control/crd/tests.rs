//! The schemas say of every field what its decoder takes, and say it in words.

use serde_json::Value;

use super::*;
use crate::resources::sketch::{Note, Sketch};

/// The places of a kind that its schema has something to say about.
fn typed(sketch: &Sketch) -> Vec<&str> {
    let open: Vec<&str> = sketch.places().filter(|path| sketch.is_open(path)).collect();
    let is_below = |path: &str| {
        let below =
            |open: &&str| path.strip_prefix(open).is_some_and(|rest| rest.starts_with(['.', '[']));
        open.iter().any(below)
    };
    sketch.places().filter(|path| !is_below(path)).collect()
}

fn kinds() -> impl Iterator<Item = (&'static Kind, Sketch)> {
    KINDS.iter().filter_map(|kind| Some((kind, resources::sketch(kind.name)?)))
}

#[test]
fn every_field_has_a_sentence_and_every_sentence_a_field() {
    for (kind, sketch) in kinds() {
        let places = typed(&sketch);
        let said: Vec<&str> = kind.words.iter().map(|(path, _)| *path).collect();
        for path in &places {
            assert!(said.contains(path), "{}: no sentence for `{path}`", kind.name);
        }
        for (path, sentence) in kind.words {
            assert!(places.contains(path), "{}: no decoder asks for `{path}`", kind.name);
            assert!(sentence.ends_with('.'), "{}: {path}: {sentence}", kind.name);
        }
    }
}

#[test]
fn every_form_of_text_has_a_pattern() {
    for (kind, sketch) in kinds() {
        for path in typed(&sketch).into_iter().filter(|path| !sketch.is_open(path)) {
            for note in sketch.notes(path) {
                let Note::Text(what) = note else { continue };
                assert!(text::is_known(what), "{}: {path}: {what}", kind.name);
            }
        }
    }
}

#[test]
fn every_rule_is_about_a_field() {
    for (kind, sketch) in kinds() {
        for rule in kind.rules {
            assert!(sketch.places().any(|path| path == rule.at), "{}: {}", kind.name, rule.at);
        }
    }
}

/// The schema at a place of a definition's spec.
fn at<'a>(definition: &'a Value, path: &str) -> &'a Value {
    let spec =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    path.split('.').fold(spec, |schema, step| match step.strip_suffix("[]") {
        Some(list) => &schema["properties"][list]["items"],
        None => &schema["properties"][step],
    })
}

#[test]
fn a_schema_has_what_the_decoder_says() {
    let all = all();
    let named = |name: &str| {
        let found = all.iter().find(|of| of["spec"]["names"]["kind"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let workload = named("Workload");
    assert_eq!(at(workload, "weight")["maximum"], 1000);
    assert_eq!(at(workload, "ports[].protocol")["enum"][2], "http2");
    assert_eq!(at(workload, "ports[]")["required"], serde_json::json!(["port"]));
    let policy = named("TrafficPolicy");
    assert_eq!(at(policy, "targetRefs")["maxItems"], 64);
    assert_eq!(at(policy, "retry.maxRetries")["minimum"], 0);
    assert_eq!(at(policy, "fallback.response.body")["maxLength"], 65536);
    assert_eq!(at(policy, "retry.bodyLimit")["x-kubernetes-int-or-string"], true);
    assert_eq!(at(policy, "tls")["x-kubernetes-preserve-unknown-fields"], true);
    let after = at(policy, "hedge.after");
    assert_eq!(after["pattern"], "^(p95|([0-9]{1,5}(h|m|s|ms)){1,4})$");
}

/// What a schema says against a value, by the little of OpenAPI that schemas here use.
fn against(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut say = |why: &str| found.push(format!("{path}: {why}: {value}"));
    let either = schema["x-kubernetes-int-or-string"] == true;
    let typed = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        _ => !either || value.is_i64() || value.is_string(),
    };
    if !typed {
        return say("type");
    }
    if schema.get("enum").is_some_and(|words| !words.as_array().expect("words").contains(value)) {
        say("enum");
    }
    let number = value.as_f64();
    if number.is_some_and(|of| schema["minimum"].as_f64().is_some_and(|least| of < least)) {
        say("minimum");
    }
    if number.is_some_and(|of| schema["maximum"].as_f64().is_some_and(|most| of > most)) {
        say("maximum");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        let pattern = regex::Regex::new(pattern).expect("a legal pattern");
        if !pattern.is_match(text) {
            say("pattern");
        }
    }
    let most = |limit: &str, is: usize| schema[limit].as_u64().is_some_and(|most| is as u64 > most);
    if most("maxLength", value.as_str().map_or(0, str::len)) {
        say("maxLength");
    }
    if most("maxItems", value.as_array().map_or(0, Vec::len)) {
        say("maxItems");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().expect("a name")).is_none() {
            say(&format!("lacks {required}"));
        }
    }
    let is_open = schema[schema::KEPT] == true;
    for (name, value) in value.as_object().into_iter().flatten() {
        let below = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        match below {
            Some(below) => against(below, value, &format!("{path}.{name}"), found),
            None if is_open => {}
            None => found.push(format!("{path}.{name} would be dropped")),
        }
    }
    for value in value.as_array().into_iter().flatten().filter(|_| !is_open) {
        against(&schema["items"], value, &format!("{path}[]"), found);
    }
}

/// What a schema says against an object of its kind; nothing for kinds that are not ours.
fn refused(object: &Value) -> Vec<String> {
    let all = all();
    let of_kind = all.iter().find(|of| of["spec"]["names"]["kind"] == object["kind"]);
    let mut found = Vec::new();
    if let Some(definition) = of_kind {
        let spec =
            &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        against(spec, &object["spec"], "spec", &mut found);
    }
    found
}

/// Every map of fields keeps what it has no field for, so that the decoder can name it.
#[test]
fn nothing_that_somebody_wrote_is_dropped() {
    fn maps(schema: &Value, path: &str, found: &mut Vec<String>) {
        if schema.get("properties").is_some() && schema[schema::KEPT] != true {
            found.push(path.to_owned());
        }
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            maps(below, &format!("{path}.{name}"), found);
        }
        for (step, name) in [("items", "[]"), ("additionalProperties", ".*")] {
            if let Some(below) = schema.get(step) {
                maps(below, &format!("{path}{name}"), found);
            }
        }
    }
    for mut definition in all() {
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        // The control plane alone writes it.
        schema["properties"]["status"].take();
        let mut found = Vec::new();
        maps(schema, "", &mut found);
        assert_eq!(found, [""; 0], "{}", definition["metadata"]["name"]);
    }
    let rows = [
        ("AccessPolicy", "{mtsl: strict}"),
        ("AccessPolicy", "{rules: [{action: allow, fromm: []}]}"),
        (
            "AccessPolicy",
            "{rules: [{action: allow, from: [{namespace: [a]}], to: [{path: ['/']}]}]}",
        ),
        ("AccessPolicy", "{selector: {matchLabels: {a: b}, labels: {a: b}}}"),
        (
            "RateLimitPolicy",
            "{limits: [{key: total, requests: 1, per: 1s, match: {method: [GET]}}]}",
        ),
        ("TrafficPolicy", "{retry: {budget: {ration: 20}}}"),
        ("Workload", "{address: a, ports: [{port: 1, meshport: 2}]}"),
    ];
    for (kind, spec) in rows {
        let (decoded, refused) = both(kind, spec);
        let faults = decoded.expect_err("the decoder knows no such field");
        assert!(faults.iter().any(|fault| fault.message.contains("unknown field")), "{faults:?}");
        assert_eq!(refused, [""; 0], "{kind} {spec}");
    }
}

/// What the decoder says of a spec, and what the schema has against it.
fn both(
    kind: &str,
    spec: &str,
) -> (Result<Vec<resources::Resource>, Vec<resources::Fault>>, Vec<String>) {
    let text = format!(
        "apiVersion: outrigger.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"
    );
    let at = resources::Origin::file("a row");
    let object = json_of(&resources::yaml::parse(&text, &at).expect("YAML")[0]);
    (resources::parse_documents(&text, &at, "default"), refused(&object))
}

/// The decoder takes each of them, as other tests show; and so does a cluster.
#[test]
fn what_pages_and_examples_show_passes_the_schema() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "deploy/kubernetes/README.md",
        "deploy/kubernetes/ingress.md",
        "deploy/kubernetes/prometheus.md",
    ];
    let read =
        |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of the repository");
    let mut texts: Vec<String> = Vec::new();
    for page in pages.map(read) {
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.flat_map(|block| block.split("---\n")).map(str::to_owned));
    }
    for file in ["deploy/examples/resilience/policies.yaml", "src/demo/mesh/policies.yaml"] {
        texts.extend(read(file).split("---\n").map(str::to_owned));
    }
    let mut seen = 0;
    for text in texts.iter().filter(|text| text.contains("apiVersion: outrigger.dev/")) {
        let at = resources::Origin::file("a page");
        for resource in resources::parse_documents(text, &at, "default").expect("sound") {
            // As it was written, and as it is printed again.
            let written = json_of(&resources::yaml::parse(text, &at).expect("YAML")[0]);
            for object in [written, resources::manifest::of(&resource)] {
                assert_eq!(refused(&object), [""; 0], "{text}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "only {seen} were found");
}

fn json_of(node: &resources::Node) -> Value {
    match &node.value {
        resources::Value::Null => Value::Null,
        resources::Value::Bool(value) => (*value).into(),
        resources::Value::Int(value) => (*value).into(),
        resources::Value::Float(value) => (*value).into(),
        resources::Value::String(value) => value.as_str().into(),
        resources::Value::List(items) => items.iter().map(json_of).collect(),
        resources::Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.name.clone(), json_of(node))).collect()
        }
    }
}

/// Where the decoder draws a line, the schema draws the same.
#[test]
fn lines_are_drawn_in_the_same_place() {
    let rows = [
        ("Workload", "{address: 10.0.0.1, weight: 1}", true),
        ("Workload", "{address: 10.0.0.1, weight: 0}", false),
        ("Workload", "{address: 10.0.0.1, weight: 1000}", true),
        ("Workload", "{address: 10.0.0.1, weight: 1001}", false),
        ("Workload", "{address: 'fe80::1'}", true),
        ("Workload", "{address: vm_1.example.}", true),
        ("Workload", "{weight: 1}", false),
        ("Workload", "{address: a, zone: ''}", false),
        ("Workload", "{address: a, ports: [{port: 65535}]}", true),
        ("Workload", "{address: a, ports: [{port: 65536}]}", false),
        ("Workload", "{address: a, ports: [{name: Web, port: 1}]}", false),
        ("Workload", "{address: a, serviceAccount: a.b-c}", true),
        ("Workload", "{address: a, serviceAccount: a..b}", false),
        ("TrafficPolicy", "{timeouts: {request: 1h30m5s100ms}}", true),
        ("TrafficPolicy", "{timeouts: {request: 100000s}}", false),
        ("TrafficPolicy", "{timeouts: {request: 1h1h1h1h1h}}", false),
        ("TrafficPolicy", "{timeouts: {request: 1.5s}}", false),
        ("TrafficPolicy", "{timeouts: {request: 5}}", false),
        ("TrafficPolicy", "{retry: {maxRetries: 10}}", true),
        ("TrafficPolicy", "{retry: {maxRetries: 11}}", false),
        ("TrafficPolicy", "{retry: {statusCodes: [200, 599, 500-599]}}", true),
        ("TrafficPolicy", "{retry: {statusCodes: [600]}}", false),
        ("TrafficPolicy", "{retry: {bodyLimit: 1}}", true),
        ("TrafficPolicy", "{retry: {bodyLimit: 0}}", false),
        ("TrafficPolicy", "{retry: {bodyLimit: 2MiB}}", true),
        ("TrafficPolicy", "{retry: {bodyLimit: 2MB}}", false),
        ("TrafficPolicy", "{retry: {grpcCodes: [UNAVAILABLE, data-loss]}}", true),
        ("TrafficPolicy", "{retry: {grpcCodes: [ok]}}", false),
        ("TrafficPolicy", "{hedge: {after: p95}}", true),
        ("TrafficPolicy", "{hedge: {after: p99}}", false),
        ("TrafficPolicy", "{hedge: {after: 5ms, maxExtra: 5}}", false),
        ("TrafficPolicy", "{fault: {delay: {percent: 100, duration: 1s}}}", true),
        ("TrafficPolicy", "{fault: {delay: {percent: 100.1, duration: 1s}}}", false),
        ("TrafficPolicy", "{fault: {abort: {percent: 1, grpcStatus: 16}}}", true),
        ("TrafficPolicy", "{fault: {abort: {percent: 1, grpcStatus: 17}}}", false),
        ("TrafficPolicy", "{fault: {abort: {percent: 1, reset: false}}}", false),
        ("TrafficPolicy", "{loadBalancing: {policy: maglev, hashOn: {header: 'x user'}}}", false),
        ("TrafficPolicy", "{headerCase: upper}", false),
        ("AccessPolicy", "{mtls: strict, ports: [1], selector: {matchLabels: {a: b}}}", true),
        ("AccessPolicy", "{mtls: on}", false),
        ("AccessPolicy", "{mtls: strict, ports: [0]}", false),
        ("AccessPolicy", "{mtls: strict, selector: {matchLabels: {a: '-'}}}", false),
        ("AccessPolicy", "{mode: observe, default: deny, audit: denied}", true),
        ("AccessPolicy", "{audit: some}", false),
        ("AccessPolicy", "{rules: [{action: allow}]}", true),
        ("AccessPolicy", "{rules: [{from: [{namespaces: [a]}]}]}", false),
        ("AccessPolicy", "{rules: [{action: allow, from: [{identities: ['*']}]}]}", true),
        ("AccessPolicy", "{rules: [{action: allow, from: [{identities: [web]}]}]}", false),
        ("AccessPolicy", "{rules: [{action: allow, from: [{namespaces: [A]}]}]}", false),
        (
            "AccessPolicy",
            "{rules: [{action: allow, from: [{claims: {roles: [a], sub: b}}]}]}",
            true,
        ),
        ("AccessPolicy", "{rules: [{action: deny, to: [{methods: [get]}]}]}", false),
        ("AccessPolicy", "{rules: [{action: deny, to: [{paths: ['/a/*', '/b/{c}/%2F']}]}]}", true),
        ("AccessPolicy", "{rules: [{action: deny, to: [{paths: [a]}]}]}", false),
        ("AccessPolicy", "{rules: [{action: deny, to: [{hosts: ['*.a.example']}]}]}", true),
        ("AccessPolicy", "{rules: [{action: deny, to: [{hosts: [A]}]}]}", false),
        ("AccessPolicy", "{rules: [{action: deny, to: [{headers: {x-a: 'b*', x-c: [d]}}]}]}", true),
        ("AccessPolicy", "{jwt: [{audiences: [a]}]}", false),
    ];
    for (kind, spec, good) in rows {
        let (decoded, refused) = both(kind, spec);
        assert_eq!(decoded.is_ok(), good, "{kind} {spec}: {decoded:?}");
        assert_eq!(refused.is_empty(), good, "{kind} {spec}: {refused:?}");
    }
}
