//! Whatever can be read is printed so that it reads as the same; the rest is refused in words.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::resources::Metadata;

fn again(resource: &Resource) -> Result<Vec<Resource>, Vec<String>> {
    read(&manifest::of(resource).to_string())
}

fn metadata() -> impl Strategy<Value = Metadata> {
    ("[a-z0-9]{1,9}(\\.[a-z]{1,3})?", "[a-z0-9]{1,9}").prop_map(|(name, namespace)| Metadata {
        name,
        namespace,
        labels: Default::default(),
        created: None,
        version: None,
        at: Origin::Default,
    })
}

fn parent() -> impl Strategy<Value = ParentRef> {
    ("[a-z]{1,9}", "[a-z]{1,9}", option::of(1u16..), option::of("[a-z]{1,5}"))
        .prop_map(|(name, namespace, port, section)| ParentRef { name, namespace, port, section })
}

fn hostname() -> impl Strategy<Value = Hostname> {
    let name = "[a-z0-9]{1,5}(\\.[a-z]{1,4}){1,2}";
    prop_oneof![
        name.prop_map(|name| Hostname::Exact(name.into())),
        name.prop_map(|name| Hostname::Below(format!(".{name}").into())),
    ]
}

fn value() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        "[!-~]([ -~]{0,6}[!-~])?".prop_map(|text| ValueMatch::Exact(text.into())),
        "[a-z.*|]{0,3}[a-z]|\\^a\\$|true|1"
            .prop_filter("an expression", |t| regex::Regex::new(t).is_ok())
            .prop_map(|text| ValueMatch::Regex(text.into())),
    ]
}

fn headers() -> impl Strategy<Value = Vec<HeaderMatch>> {
    prop::collection::btree_map("x-[a-z]{1,4}", value(), 0..3).prop_map(|headers| {
        let one = |(name, value): (String, ValueMatch)| HeaderMatch {
            name: name.parse().expect("a header's name"),
            value,
        };
        headers.into_iter().map(one).collect()
    })
}

fn path_text() -> impl Strategy<Value = String> {
    "(/[a-zA-Z0-9_~!$&'()*+,;=:@-]{1,5}|/%[013-9a-f][0-9a-e]){1,3}"
}

fn path(prefixed: bool) -> BoxedStrategy<PathMatch> {
    let prefix = prop_oneof![Just("/".to_owned()), path_text()]
        .prop_map(|path| PathMatch::Prefix(path.into()));
    if prefixed {
        return prefix.boxed();
    }
    let exact = prop_oneof![Just("/".to_owned()), path_text(), path_text().prop_map(|p| p + "/")]
        .prop_map(|path| PathMatch::Exact(path.into()));
    let regex = "/[a-z]{1,3}(/\\.\\*|/\\(\\?:a\\|b\\))?".prop_map(|p| PathMatch::Regex(p.into()));
    prop_oneof![prefix, exact, regex].boxed()
}

fn http_match(prefixed: bool) -> impl Strategy<Value = Match> {
    let query = prop::collection::btree_map("[!-~]{1,4}", value(), 0..3).prop_map(|query| {
        let one = |(name, value): (String, ValueMatch)| QueryMatch { name: name.into(), value };
        query.into_iter().map(one).collect::<Vec<_>>()
    });
    let method = select(vec![Method::GET, Method::PATCH, Method::CONNECT]);
    (path(prefixed), headers(), query, option::of(method)).prop_map(
        |(path, headers, query, method)| Match { path: Some(path), headers, query, method },
    )
}

fn edit() -> impl Strategy<Value = HeaderEdit> {
    let lines = || {
        let value = "[!-~]([ -~]{0,6}[!-~])?";
        prop::collection::btree_map("x-[a-z]{1,4}", value, 0..3).prop_map(|lines| {
            let one = |(name, value): (String, String)| {
                (name.parse().expect("a name"), value.parse().expect("a value"))
            };
            lines.into_iter().map(one).collect::<Vec<(HeaderName, HeaderValue)>>()
        })
    };
    let names = prop::collection::btree_set("x-[a-z]{1,4}", 0..3);
    (lines(), lines(), names).prop_map(|(set, add, names)| {
        let remove = names.iter().map(|name| name.parse().expect("a name")).collect();
        HeaderEdit { set, add, remove }
    })
}

fn change(prefixed: bool) -> BoxedStrategy<PathChange> {
    let full = path_text().prop_map(|path| PathChange::Full(path.into()));
    let prefix = prop_oneof![Just(String::new()), Just("/".to_owned()), path_text()]
        .prop_map(|path| PathChange::Prefix(path.into()));
    if prefixed { prop_oneof![full, prefix].boxed() } else { full.boxed() }
}

fn service() -> impl Strategy<Value = ServiceName> {
    ("[a-z]{1,6}", "[a-z]{1,6}", 1u16..).prop_map(|(name, namespace, port)| ServiceName {
        name: name.into(),
        namespace: namespace.into(),
        port,
    })
}

fn mirror() -> impl Strategy<Value = Filter> {
    let share = prop_oneof![0u32..=1_000_000, (0u32..=100).prop_map(|percent| percent * 10_000)];
    (service(), share)
        .prop_map(|(service, share)| Filter::Mirror(Mirror { service, share: Share(share) }))
}

fn redirect(prefixed: bool) -> impl Strategy<Value = Filter> {
    let scheme = select(vec![Scheme::HTTP, Scheme::HTTPS]);
    let host = "[a-z]{1,5}(\\.[a-z]{1,3})?".prop_map(|host| host.into());
    let rest = (option::of(change(prefixed)), option::of(1u16..));
    let status = select(vec![301u16, 302, 303, 307, 308]);
    (option::of(scheme), host, rest, status).prop_map(|(scheme, hostname, (path, port), status)| {
        let status = StatusCode::from_u16(status).expect("a status");
        Filter::Redirect(Redirect { scheme, hostname: Some(hostname), path, port, status })
    })
}

fn rewrite(prefixed: bool) -> impl Strategy<Value = Filter> {
    let host = "[a-z]{1,5}(\\.[a-z]{1,3})?".prop_map(|host| host.parse().expect("an authority"));
    (option::of(host), option::of(change(prefixed)))
        .prop_map(|(authority, path)| Filter::Rewrite(Rewrite { authority, path }))
}

fn cors() -> impl Strategy<Value = Filter> {
    let words = |words: Vec<&'static str>| {
        let some = prop::sample::subsequence(words.clone(), 0..=words.len());
        prop_oneof![some, Just(vec!["*"])]
            .prop_map(|words| words.into_iter().map(Into::into).collect::<Vec<_>>())
    };
    (
        words(vec!["https://a.b", "http://*.a:8080", "https://*"]),
        any::<bool>(),
        words(vec!["GET", "POST"]),
        words(vec!["X-A", "content-type"]),
        words(vec!["x-b", "Date"]),
        1u64..100_000,
    )
        .prop_map(|(origins, credentials, methods, headers, exposed, seconds)| {
            Filter::Cors(Cors {
                allow_origins: origins,
                allow_credentials: credentials,
                allow_methods: methods,
                allow_headers: headers,
                expose_headers: exposed,
                max_age: Duration::from_secs(seconds),
            })
        })
}

/// Each type at most once, in any order, mirrors apart.
fn filters(kind: RouteKind, on_backend: bool, prefixed: bool) -> BoxedStrategy<Vec<Filter>> {
    let headers = option::of(edit().prop_map(Filter::RequestHeaders));
    let response = option::of(edit().prop_map(Filter::ResponseHeaders));
    let of_grpc = (headers, response, vec(mirror(), 0..3))
        .prop_map(|(one, two, rest)| one.into_iter().chain(two).chain(rest).collect::<Vec<_>>())
        .boxed();
    let cors = if on_backend { Just(None).boxed() } else { option::of(cors()).boxed() };
    let of_http =
        (of_grpc.clone(), option::of(rewrite(prefixed)), cors).prop_map(|(rest, rewrite, cors)| {
            rest.into_iter().chain(rewrite).chain(cors).collect::<Vec<_>>()
        });
    match kind {
        RouteKind::Grpc => of_grpc.prop_shuffle().boxed(),
        RouteKind::Http => of_http.prop_shuffle().boxed(),
    }
}

fn backends(kind: RouteKind, prefixed: bool) -> impl Strategy<Value = Vec<Backend>> {
    let backend = (service(), 0u32..=1_000_000, filters(kind, true, prefixed))
        .prop_map(|(service, weight, filters)| Backend { service, weight, filters });
    vec(backend, 0..3)
}

fn limit() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 1u64..5_000, 0..=365 * 24 * 3_600_000u64].prop_map(Duration::from_millis)
}

fn timeouts() -> impl Strategy<Value = RouteTimeouts> {
    (option::of(limit()), option::of(limit())).prop_map(|(request, each)| {
        let bounded = match (request, each) {
            (Some(request), Some(each)) if !request.is_zero() => Some(each.min(request)),
            _ => each,
        };
        RouteTimeouts { request, backend_request: bounded }
    })
}

fn retry() -> impl Strategy<Value = RouteRetry> {
    let codes = prop::collection::btree_set(400u16..=599, 0..4);
    let backoff = limit().prop_map(|backoff| backoff.max(Duration::from_millis(1)));
    (codes, option::of(0u32..=100), option::of(backoff)).prop_map(|(codes, attempts, backoff)| {
        RouteRetry { codes: codes.into_iter().collect(), attempts, backoff }
    })
}

fn http_rule() -> impl Strategy<Value = HttpRule> {
    any::<bool>().prop_flat_map(|prefixed| {
        let kind = RouteKind::Http;
        let goes_on = (filters(kind, false, prefixed), backends(kind, prefixed));
        let answers = redirect(prefixed).prop_map(|redirect| (vec![redirect], Vec::new()));
        let matches = vec(http_match(prefixed), 1..3);
        (
            matches,
            prop_oneof![3 => goes_on.boxed(), 1 => answers.boxed()],
            timeouts(),
            option::of(retry()),
        )
            .prop_map(|(matches, (filters, backends), timeouts, retry)| HttpRule {
                name: None,
                matches,
                filters,
                backends,
                timeouts,
                retry,
            })
    })
}

fn method() -> impl Strategy<Value = GrpcMethod> {
    let names =
        (option::of("([a-z]{1,4}\\.){0,2}[A-Z][a-z_0-9]{0,4}"), option::of("_?[A-Z][a-z]{0,4}"));
    let regexes = (option::of("\\^?[a-z.|]{1,4}\\$?"), option::of("(Get|Set)\\.\\*"));
    prop_oneof![
        names.prop_map(|(service, method)| GrpcMethod::Exact { service, method }),
        regexes.prop_map(|(service, method)| GrpcMethod::Regex { service, method }),
    ]
    .prop_filter("one of both", |method| super::draft::path(method).is_some())
}

fn grpc_rule() -> impl Strategy<Value = GrpcRule> {
    let one = (option::of(method()), headers())
        .prop_map(|(method, headers)| GrpcMatch { method, headers });
    let kind = RouteKind::Grpc;
    (vec(one, 0..3), filters(kind, false, false), backends(kind, false)).prop_map(
        |(matches, filters, backends)| GrpcRule { name: None, matches, filters, backends },
    )
}

/// As the reader wants it: where the rule changes the path, its backends don't.
fn rewrite_once(rule: &mut HttpRule) {
    let changes = |filter: &Filter| matches!(filter, Filter::Rewrite(to) if to.path.is_some());
    if rule.filters.iter().any(changes) {
        rule.backends.iter_mut().for_each(|backend| backend.filters.retain(|f| !changes(f)));
    }
}

/// As the reader wants them: no two of one place.
fn parents() -> impl Strategy<Value = Vec<ParentRef>> {
    vec(parent(), 1..4).prop_map(|mut parents| {
        let mut seen = std::collections::HashSet::new();
        parents.retain(|parent| seen.insert(format!("{parent:?}")));
        parents
    })
}

fn hostnames() -> impl Strategy<Value = Vec<Hostname>> {
    prop::collection::hash_set(hostname(), 0..3).prop_map(|names| names.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn of_http_routes(
        metadata in metadata(),
        parents in parents(),
        hostnames in hostnames(),
        mut rules in vec(http_rule(), 1..4),
        named in any::<bool>(),
    ) {
        if named {
            rules.iter_mut().enumerate().for_each(|(n, rule)| rule.name = Some(format!("r{n}.x")));
        }
        rules.iter_mut().for_each(rewrite_once);
        let route = Resource::HttpRoute(HttpRoute { metadata, parents, hostnames, rules });
        prop_assert_eq!(again(&route), Ok(vec![route]));
    }

    #[test]
    fn of_grpc_routes(
        metadata in metadata(),
        parents in parents(),
        hostnames in hostnames(),
        mut rules in vec(grpc_rule(), 1..4),
        named in any::<bool>(),
    ) {
        if named {
            rules.iter_mut().enumerate().for_each(|(n, rule)| rule.name = Some(format!("r{n}")));
        }
        let route = Resource::GrpcRoute(GrpcRoute { metadata, parents, hostnames, rules });
        prop_assert_eq!(again(&route), Ok(vec![route]));
    }

    #[test]
    fn random_routes_never_panic(
        kind in "(HTTP|GRPC)Route",
        text in "(  parentRefs: \\[[{]kind: Service, name: a[}]\\]\n|  rules:\n|  - name: [a-z]?\n|    matches:\n|    - path: [{]type: (Exact|RegularExpression), value: '[/a-z(%.2]{0,6}'[}]\n|    - method: [{]type: (Exact|RegularExpression), method: '[a^$\\\\(#]{0,4}'[}]\n|    filters: \\[[{]type: (CORS|URLRewrite)[}]\\]\n|    timeouts: [{]request: [0-9]{1,3}m?s[}]\n){0,9}",
    ) {
        let head = format!("apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r}}\nspec:\n");
        let _ = read(&format!("{head}{text}"));
    }
}
