//! What each route and policy is told: accepted, in conflict, about nothing, sending nowhere.

use super::*;

fn told(all: &[Arc<Resource>]) -> Vec<String> {
    let mut lines = Vec::new();
    for standing in conditions(all.iter().map(Arc::as_ref)) {
        let of = standing.resource.metadata();
        let who = format!("{} {}/{}", standing.resource.kind(), of.namespace, of.name);
        for (what, how) in &standing.on {
            lines.push(match how {
                Condition::Accepted => format!("{who}: {what}: accepted"),
                Condition::Conflicted { with } => format!("{who}: {what}: conflicts with {with}"),
                Condition::Unread { what: unread } => format!("{who}: {what}: {unread}"),
                Condition::TargetNotFound { what: missing } if missing == what => {
                    format!("{who}: no {what}")
                }
                Condition::TargetNotFound { what: missing } => {
                    format!("{who}: {what}: no {missing}")
                }
            });
        }
        lines.extend(standing.missing.iter().map(|name| format!("{who}: sends to no {name}")));
        assert_eq!(
            standing.is_sound(),
            !lines.iter().any(|l| l.starts_with(&who) && !l.ends_with("accepted"))
        );
    }
    lines
}

#[test]
fn of_routes() {
    let all = [
        Arc::new(Resource::Service(web())),
        route(
            "shop/sound",
            &["web.shop", "web.shop:80", "web.shop:admin"],
            vec![rule(None, "web:80")],
        ),
        route("shop/no-service", &["api.shop", "web.other"], vec![]),
        route("shop/no-port", &["web.shop:81", "web.shop:grpc"], vec![]),
        route("shop/no-backend", &["web.shop"], vec![rule(None, "web:81"), rule(None, "api:80")]),
    ];
    let expected = [
        "HTTPRoute shop/sound: Service web of namespace shop: accepted",
        "HTTPRoute shop/sound: port 80 of Service web of namespace shop: accepted",
        "HTTPRoute shop/sound: port admin of Service web of namespace shop: accepted",
        "HTTPRoute shop/no-service: no Service api of namespace shop",
        "HTTPRoute shop/no-service: no Service web of namespace other",
        "HTTPRoute shop/no-port: no port 81 of Service web of namespace shop",
        "HTTPRoute shop/no-port: no port grpc of Service web of namespace shop",
        "HTTPRoute shop/no-backend: Service web of namespace shop: accepted",
        "HTTPRoute shop/no-backend: sends to no api.shop:80",
        "HTTPRoute shop/no-backend: sends to no web.shop:81",
    ];
    assert_eq!(told(&all), expected);
}

#[test]
fn of_policies() {
    let on = |targets: &str| format!("targetRefs: [{targets}], ");
    let all = [
        Arc::new(Resource::Service(web())),
        route("shop/r", &["web.shop"], vec![rule(Some("a"), "web:80")]),
        limits("outrigger-system/mesh", 1),
        limits("shop/young@02", 1),
        limits("shop/old@01", 1),
        limits_on(
            "shop/two@02",
            1,
            &on("{kind: Service, name: web}, {kind: Service, name: web, sectionName: admin}"),
        ),
        limits_on("shop/one@01", 1, &on("{kind: Service, name: web}")),
        limits_on(
            "shop/gone",
            1,
            &on(
                "{kind: Service, name: api, sectionName: x}, {kind: Service, name: web, sectionName: x}",
            ),
        ),
        retries_on("shop/rule@01", 1, RULE),
        retries_on("shop/rule-too@02", 1, RULE),
        retries_on(
            "shop/no-rule",
            1,
            &on(
                "{kind: HTTPRoute, name: r, sectionName: b}, {kind: GRPCRoute, name: r}, {kind: HTTPRoute, name: q, sectionName: b}",
            ),
        ),
        retries_on("other/rule@01", 1, RULE),
        policy("shop/falls", &format!("{ROUTE}fallback: {{service: web}}")),
        policy("other/falls", "fallback: {service: web}"),
    ];
    let expected = [
        "HTTPRoute shop/r: Service web of namespace shop: accepted",
        "TrafficPolicy outrigger-system/mesh: the mesh: accepted",
        "TrafficPolicy shop/young: namespace shop: conflicts with shop/old",
        "TrafficPolicy shop/old: namespace shop: accepted",
        "TrafficPolicy shop/two: Service web of namespace shop: conflicts with shop/one",
        "TrafficPolicy shop/two: port admin of Service web of namespace shop: accepted",
        "TrafficPolicy shop/one: Service web of namespace shop: accepted",
        "TrafficPolicy shop/gone: no Service api of namespace shop",
        "TrafficPolicy shop/gone: no port x of Service web of namespace shop",
        "TrafficPolicy shop/rule: rule a of HTTPRoute r of namespace shop: accepted",
        "TrafficPolicy shop/rule-too: rule a of HTTPRoute r of namespace shop: conflicts with shop/rule",
        "TrafficPolicy shop/no-rule: no rule b of HTTPRoute r of namespace shop",
        "TrafficPolicy shop/no-rule: no GRPCRoute r of namespace shop",
        "TrafficPolicy shop/no-rule: no HTTPRoute q of namespace shop",
        "TrafficPolicy other/rule: no HTTPRoute r of namespace other",
        "TrafficPolicy shop/falls: HTTPRoute r of namespace shop: accepted",
        "TrafficPolicy other/falls: namespace other: accepted",
        "TrafficPolicy other/falls: sends to no web.other:0",
    ];
    assert_eq!(told(&all), expected);
}

#[test]
fn of_fallbacks_without_a_port() {
    let falls = |name: &str, target: &str| {
        policy(name, &format!("targetRefs: [{target}], fallback: {{service: spare}}"))
    };
    let spare =
        Service { metadata: metadata("shop/spare"), ports: web().ports[..1].into(), ..web() };
    let all = [
        Arc::new(Resource::Service(web())),
        Arc::new(Resource::Service(spare)),
        route("shop/r", &["web.shop"], vec![]),
        route("shop/first", &["web.shop:80"], vec![]),
        falls("shop/admin", "{kind: Service, name: web, sectionName: admin}"),
        falls("shop/whole", "{kind: Service, name: web}"),
        falls("shop/route", "{kind: HTTPRoute, name: r}"),
        falls("shop/port", "{kind: HTTPRoute, name: first}"),
        falls("shop/gone", "{kind: Service, name: api}"),
        policy(
            "shop/said",
            "targetRefs: [{kind: Service, name: web}], fallback: {service: 'spare:80'}",
        ),
        policy("shop/all", "fallback: {service: spare}"),
    ];
    let lacking: Vec<_> = conditions(all.iter().map(Arc::as_ref))
        .into_iter()
        .filter(|standing| !standing.missing.is_empty())
        .map(|standing| {
            let missing: Vec<_> = standing.missing.iter().map(ToString::to_string).collect();
            format!("{} lacks {}", standing.resource.metadata().name, missing.join(" "))
        })
        .collect();
    let lacks = ["admin", "whole", "route"].map(|name| format!("{name} lacks spare.shop:90"));
    assert_eq!(lacking, lacks);
}
