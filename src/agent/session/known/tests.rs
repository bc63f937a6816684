//! When a service whose routes lead to others may be used, and how long what is known.

use std::time::Duration;

use super::*;
use crate::wire::v1::service_answer::Answer;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").expect("a name")
}

fn wants(text: &str) -> Want {
    Want::Service(name(text))
}

fn said(of: &str, answer: Answer) -> v1::ServiceAnswer {
    v1::ServiceAnswer { name: Some((&name(of)).into()), answer: Some(answer) }
}

fn attachments(references: &[&str]) -> v1::Attachments {
    let references = references.iter().map(|of| (&name(of)).into()).collect();
    v1::Attachments { attachments: Vec::new(), references }
}

/// A service with one endpoint, which sends to others.
fn whole(of: &str, references: &[&str]) -> v1::ServiceAnswer {
    let key = v1::EndpointKey { workload: "w.shop".into(), address: "10.0.1.1".into(), port: 8080 };
    let endpoint = v1::Endpoint { key: Some(key), weight: 1, ..v1::Endpoint::default() };
    let service = v1::Service {
        cluster_ips: vec!["10.0.0.7".into()],
        endpoints: vec![endpoint],
        attachments: Some(attachments(references)),
        ..v1::Service::default()
    };
    said(of, Answer::Service(service))
}

fn unknown(of: &str) -> v1::ServiceAnswer {
    said(of, Answer::Unknown(v1::Unknown {}))
}

fn update(services: Vec<v1::ServiceAnswer>) -> v1::Update {
    v1::Update { version: "e.1.1".into(), services, addresses: Vec::new() }
}

fn take(known: &mut Known, services: Vec<v1::ServiceAnswer>) {
    known.take(update(services)).expect("sound");
}

fn known(asked: &[&str]) -> Known {
    let mut known = Known::new(Vec::new());
    asked.iter().for_each(|of| assert!(known.ask(&wants(of), Instant::now())));
    known
}

/// What callers may go by, and everything that the data path sees.
fn seen(known: &Known) -> (Vec<String>, Vec<String>) {
    let Picture { services, coverage, .. } = known.picture();
    let Coverage::Answered { services: covered, .. } = coverage else { panic!("not all") };
    let mut covered: Vec<String> = covered.iter().map(ToString::to_string).collect();
    let mut all: Vec<String> = services.iter().map(|bound| bound.name.to_string()).collect();
    covered.sort();
    all.sort();
    (covered, all)
}

#[test]
fn a_service_is_known_with_what_it_leads_to() {
    let mut known = known(&["web:80"]);
    take(&mut known, vec![whole("web:80", &["v2:80", "gone:80"])]);
    assert_eq!(seen(&known), (vec![], vec![]));
    assert!(!known.is_complete());
    take(&mut known, vec![whole("v2:80", &["deeper:80"]), whole("stranger:80", &[])]);
    assert!(!known.is_complete());
    take(&mut known, vec![unknown("gone:80")]);
    assert!(known.is_complete());
    let (covered, all) = seen(&known);
    assert_eq!(covered, ["web.shop:80"], "who dials v2 itself has to ask where it leads to");
    assert_eq!(all, ["v2.shop:80", "web.shop:80"]);
    let picture = known.picture();
    let ips = |of: &str| {
        let bound = picture.services.iter().find(|bound| bound.name == name(of));
        bound.map(|bound| bound.cluster_ips.len())
    };
    assert_eq!((ips("web:80"), ips("v2:80")), (Some(1), Some(0)));
}

#[test]
fn what_is_in_use_stays_until_what_comes_next_is_whole() {
    let mut known = known(&["web:80"]);
    take(&mut known, vec![whole("web:80", &["v1:80"]), whole("v1:80", &[])]);
    let change = Answer::Attachments(attachments(&["v1:80", "v2:80"]));
    take(&mut known, vec![said("web:80", change)]);
    assert_eq!(
        seen(&known),
        (vec!["web.shop:80".into()], vec!["v1.shop:80".into(), "web.shop:80".into()])
    );
    let service = &known.services[&name("web:80")];
    assert_eq!(known.in_force(service).expect("known").references, [name("v1:80")]);
    take(&mut known, vec![whole("v2:80", &[])]);
    let service = &known.services[&name("web:80")];
    assert_eq!(known.in_force(service).expect("known").references.len(), 2);
    assert!(service.before.is_none());
    let bound = service.said.as_ref().and_then(|said| said.bound.clone()).expect("there is one");
    assert_eq!(bound.endpoints.len(), 1, "a change of attachments leaves endpoints alone");
}

#[test]
fn what_was_lost_on_the_way_is_asked_for_once_more() {
    let mut known = known(&["web:80"]);
    assert_eq!(known.ask_again(Instant::now()), v1::Subscription::default());
    take(&mut known, vec![whole("web:80", &["v1:80"])]);
    assert_eq!(known.ask_again(Instant::now()).services, [(&name("web:80")).into()]);
    assert_eq!(known.ask_again(Instant::now()), v1::Subscription::default());
    take(&mut known, vec![whole("web:80", &["v1:80"]), whole("v1:80", &[])]);
    assert!(known.is_complete());
    take(&mut known, vec![whole("web:80", &["v2:80"])]);
    assert_eq!(known.ask_again(Instant::now()).services.len(), 1, "and again the next time");
}

#[test]
fn who_asks_for_what_others_lead_to_asks_the_control_plane() {
    let mut known = known(&["web:80"]);
    take(&mut known, vec![whole("web:80", &["v1:80"]), whole("v1:80", &["v2:80"])]);
    let remembered = known.remembered();
    assert_eq!(remembered.implied, [(&name("v1:80")).into()]);
    assert_eq!(remembered.answered.services, [(&name("web:80")).into()]);
    assert!(known.ask(&wants("v1:80"), Instant::now()));
    assert!(!known.ask(&wants("v1:80"), Instant::now()));
    assert_eq!(known.ask_again(Instant::now()), v1::Subscription::default(), "it was just asked");
    assert_eq!(seen(&known).0, ["web.shop:80"]);
    take(&mut known, vec![whole("v1:80", &["v2:80"]), whole("v2:80", &[])]);
    assert_eq!(seen(&known).0, ["v1.shop:80", "web.shop:80"]);
}

#[test]
fn what_nobody_leads_to_any_more_is_let_go() {
    let mut known = known(&["web:80", "api:80"]);
    let both = vec![
        whole("web:80", &["api:80", "v1:80"]),
        whole("api:80", &["web:80"]),
        whole("v1:80", &[]),
    ];
    take(&mut known, both);
    let now = Instant::now() + Duration::from_secs(601);
    let used = |of: &'static str| move |want: &Want| *want == wants(of);
    // Nobody calls api itself; it stays known, as one that web sends to.
    assert_eq!(known.sweep(now, &used("web:80")).services, [(&name("api:80")).into()]);
    assert_eq!(known.remembered().implied.len(), 2);
    take(&mut known, vec![said("web:80", Answer::Attachments(attachments(&["api:80"])))]);
    assert_eq!(known.sweep(now, &used("web:80")).services, [(&name("v1:80")).into()]);
    assert_eq!(known.sweep(now, &used("web:80")), v1::Subscription::default());
    // Two that lead to each other don't keep each other.
    assert!(known.ask(&wants("api:80"), now));
    let later = now + Duration::from_secs(601);
    assert_eq!(known.sweep(later, &|_| false).services.len(), 2);
    assert_eq!(known.remembered(), Remembered::default());
}

/// A timeout of the service, or what only a newer sidecar knows.
fn policy(field: &str) -> v1::Attachment {
    let manifest = format!(
        r#"{{"apiVersion": "outrigger.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {{"name": "odd", "namespace": "shop"}},
            "spec": {{"targetRefs": [{{"kind": "Service", "name": "web"}}],
                      "timeouts": {{"{field}": "1s"}}}}}}"#
    );
    v1::Attachment { manifest }
}

fn with(policies: &[&str], references: &[&str]) -> v1::Attachments {
    let attached = policies.iter().copied().map(policy).collect();
    v1::Attachments { attachments: attached, ..attachments(references) }
}

fn with_policies(of: &str, policies: &[&str], weight: u32) -> v1::ServiceAnswer {
    let mut answer = whole(of, &[]);
    if let Some(Answer::Service(service)) = &mut answer.answer {
        service.attachments = Some(with(policies, &[]));
        service.endpoints[0].weight = weight;
    }
    answer
}

/// How many attachments a service has, and the weight of its endpoint.
fn held(known: &Known, of: &str) -> (usize, u32) {
    let picture = known.picture();
    let bound = picture.services.iter().find(|bound| bound.name == name(of)).expect("known");
    (bound.attachments.len(), bound.endpoints[0].weight)
}

#[test]
fn attachments_that_can_not_be_read_leave_those_before_and_let_endpoints_pass() {
    let mut known = known(&["web:80", "api:80"]);
    take(&mut known, vec![with_policies("web:80", &["request"], 1)]);
    let newer = with_policies("web:80", &["newer", "request", "connect"], 2);
    let fresh = with_policies("api:80", &["newer", "request"], 3);
    let faults = known.take(update(vec![newer, fresh])).expect("but for attachments").faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
    for (fault, service) in faults.iter().zip(["web.shop:80: ", "api.shop:80: "]) {
        for part in [service, "TrafficPolicy odd.shop: ", "`newer`"] {
            assert!(fault.contains(part), "{fault} lacks {part}");
        }
    }
    assert_eq!(held(&known, "web:80"), (1, 2), "those before");
    assert_eq!(held(&known, "api:80"), (1, 3), "there were none: what can be read");
    assert!(known.is_complete());
    assert_eq!(known.version(), "e.1.1", "there is nothing to be said again");
    let sound = said("web:80", Answer::Attachments(with(&["request", "connect"], &[])));
    assert_eq!(known.take(update(vec![sound])).expect("sound").faults, [""; 0]);
    assert_eq!(held(&known, "web:80"), (2, 2));
}

#[test]
fn attachments_that_stay_keep_where_they_lead_to() {
    let mut known = known(&["web:80"]);
    take(&mut known, vec![whole("web:80", &["v1:80"]), whole("v1:80", &[])]);
    let change = said("web:80", Answer::Attachments(with(&["newer"], &["v2:80"])));
    let taken = known.take(update(vec![change, whole("v2:80", &[])])).expect("but for one");
    assert_eq!((taken.faults.len(), taken.unwanted), (1, v1::Subscription::default()));
    let service = &known.services[&name("web:80")];
    let references = &known.in_force(service).expect("known").references;
    assert_eq!(*references, [name("v2:80"), name("v1:80")]);
    assert_eq!(known.sweep(Instant::now(), &|_| false), v1::Subscription::default());
}

/// A service whose protocol is newer than this sidecar.
fn newer(of: &str) -> v1::ServiceAnswer {
    said(of, Answer::Service(v1::Service { protocol: 77, ..v1::Service::default() }))
}

#[test]
fn an_update_that_can_not_be_read_changes_nothing() {
    let mut known = known(&["web:80", "api:80"]);
    take(&mut known, vec![whole("web:80", &[]), whole("api:80", &[])]);
    let errors = known.take(update(vec![unknown("api:80"), newer("web:80")]));
    let errors = errors.expect_err("it is newer");
    assert_eq!(errors.len(), 1, "{errors:?}");
    for part in ["web.shop:80: ", "protocol 77"] {
        assert!(errors[0].contains(part), "{errors:?} lacks {part}");
    }
    assert_eq!(seen(&known).0, ["api.shop:80", "web.shop:80"]);
    assert_eq!(known.version(), "", "what is in use is of several versions");
}

#[test]
fn after_a_refusal_a_session_that_was_told_everything_can_be_built_on() {
    let mut known = known(&["web:80"]);
    take(&mut known, vec![whole("web:80", &[])]);
    let refuse = |known: &mut Known| {
        known.take(update(vec![newer("web:80")])).expect_err("it is newer");
    };
    refuse(&mut known);
    take(&mut known, vec![whole("web:80", &[])]);
    assert_eq!(known.version(), "", "what else was refused is not known");
    assert_eq!(known.begin(), "");
    refuse(&mut known);
    take(&mut known, vec![whole("web:80", &[])]);
    assert_eq!(known.begin(), "", "the first was not taken");
    take(&mut known, vec![whole("web:80", &[])]);
    assert_eq!(known.begin(), "e.1.1");
    refuse(&mut known);
    assert_eq!(known.version(), "");
}
