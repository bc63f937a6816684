//! Who is asked for what, and that a tap is bounded and leaves with its call.

use std::sync::Arc;

use super::*;
use crate::control::memory::{Directory, Endpoint};
use crate::model::SpiffeId;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const OTHER: &str = "spiffe://cluster.local/ns/ops/sa/web";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("an id")
}

/// `web.shop`, behind which is the workload `web-1`.
fn directory() -> Directory {
    let mut directory = Directory::default();
    let entry = directory.services.entry("web.shop".into()).or_default();
    entry.endpoints.push(Endpoint {
        service: "web.shop:80".into(),
        address: None,
        shown: String::new(),
        workload: "web-1.shop".into(),
        zone: None,
        identity: Some(id(WEB)),
    });
    directory
}

fn asked(target: &Target, fields: &[(&str, &str)], workload: &str, identity: &str) -> Vec<String> {
    let mut filter = Filter::default();
    for (field, value) in fields {
        filter.set(field, value).expect(field);
    }
    let identity = id(identity);
    let sidecar = Sidecar { workload, identity: &identity };
    let filters = target.filters(&filter, sidecar, &directory());
    filters.iter().map(ToString::to_string).collect()
}

#[test]
fn sidecars_are_asked_for_what_concerns_the_target() {
    let service = Target::Service("web.shop".into());
    let both = ["outbound, to web.shop", "inbound"];
    assert_eq!(asked(&service, &[], "web-1", WEB), both);
    assert_eq!(asked(&service, &[], "web-2", WEB), both[..1], "another workload");
    assert_eq!(asked(&service, &[], "web-1", OTHER), both[..1], "another's certificate");
    assert_eq!(asked(&service, &[("direction", "inbound")], "web-1", WEB), both[1..]);
    assert!(asked(&service, &[("direction", "inbound")], "client", WEB).is_empty());
    let port = [("service", "web.shop:80"), ("method", "GET")];
    assert_eq!(
        asked(&service, &port, "web-1", WEB),
        ["method GET, outbound, to web.shop:80", "method GET, inbound"]
    );
    assert!(asked(&service, &[("service", "api.shop")], "web-1", WEB).is_empty());

    let workload = Target::Workload("web-1.shop".into());
    assert_eq!(asked(&workload, &[], "web-1", WEB), [""]);
    assert!(asked(&workload, &[], "web-1", OTHER).is_empty());
    assert!(asked(&workload, &[], "web", WEB).is_empty());
    assert_eq!(asked(&workload, &[("service", "web.shop")], "web-1", WEB), both);

    let namespace = Target::Namespace("shop".into());
    assert_eq!(asked(&namespace, &[], "any", WEB), [""]);
    assert!(asked(&namespace, &[], "any", OTHER).is_empty());
    assert_eq!(asked(&Target::Everybody, &[("status", "5xx")], "any", OTHER), ["status 5xx"]);
}

#[test]
fn taps_are_few_and_leave_with_whoever_holds_them() {
    let taps = Arc::new(Taps::default());
    let begin = || taps.begin(Target::Everybody, Filter::default(), 100, 0);
    let mut held: Vec<Held> = (0..8).map(|_| begin().expect("a place")).collect();
    assert!(begin().is_none());
    let followed = taps.follow();
    held.remove(3);
    assert!(followed.has_changed().expect("it is there"));
    let ids: Vec<u64> = followed.borrow().iter().map(|tap| tap.id).collect();
    assert_eq!(ids, [1, 2, 3, 5, 6, 7, 8]);
    assert!(begin().is_some_and(|held| held.tap.id > 8));
}

#[test]
fn all_sidecars_together_keep_to_the_rate_and_are_counted() {
    let taps = Arc::new(Taps::default());
    let held = taps.begin(Target::Everybody, Filter::default(), 10, 0).expect("a place");
    let tap = &held.tap;
    let (mut one, two) = (Asked::of(tap), Asked::of(tap));
    one.watches();
    one.watches();
    assert_eq!(tap.sidecars(), (2, 1));
    let requests = || vec![v1::TappedRequest::default(); 7];
    tap.take("one.shop", requests(), LeftOut { over_rate: 5, unread: 1 }, 0);
    tap.take("two.shop", requests(), LeftOut::default(), 0);
    let drained = tap.queue.drain(99, 1 << 20, 0);
    let of = |workload| drained.items.iter().filter(|one| one.workload == workload).count();
    assert_eq!((of("one.shop"), of("two.shop")), (7, 3));
    assert_eq!(drained.left_out, LeftOut { over_rate: 9, unread: 1 });
    drop((one, two));
    assert_eq!(tap.sidecars(), (0, 0));
}
