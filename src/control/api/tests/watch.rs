//! What a reader of `Watch` is told.

use std::time::Duration;

use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::wire::v1::watch_event::Event;

type Events = ReceiverStream<Result<v1::WatchEvent, Status>>;

async fn watch(bench: &Bench, kind: &str, namespace: &str) -> Events {
    let request = Request::new(listing(kind, namespace));
    bench.configuration.watch(request).await.expect("a stream").into_inner()
}

/// The next event: `+ name @version`, `- name`, or `synced`.
async fn next(events: &mut Events) -> String {
    match events.next().await.expect("more").expect("no error").event.expect("one of them") {
        Event::Upserted(resource) => {
            let key = resource.key.expect("a key");
            format!("+ {} @{}", key.name, resource.version)
        }
        Event::Deleted(key) => format!("- {}", key.name),
        Event::Synced(v1::Synced {}) => "synced".to_owned(),
    }
}

/// Lets everybody else run until nobody has anything to do.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn remove(bench: &Bench, name: &str) {
    let keys = vec![key("Service", "shop", name)];
    bench.delete(v1::DeleteRequest { keys, ..v1::DeleteRequest::default() }).await.expect("done");
}

#[tokio::test(start_paused = true)]
async fn first_what_there_is_then_every_change() {
    let bench = Bench::new();
    bench.applied(&format!("{WEB}{}", service("api", "10.0.0.8", 80))).await;
    let mut events = watch(&bench, "", "").await;
    assert_eq!(next(&mut events).await, "+ api @1");
    assert_eq!(next(&mut events).await, "+ web @1");
    assert_eq!(next(&mut events).await, "synced");
    bench.applied(&WEB.replace("80", "81")).await;
    assert_eq!(next(&mut events).await, "+ web @2");
    bench.register("web-1").await;
    assert_eq!(next(&mut events).await, "+ web-1 @3");
    remove(&bench, "api").await;
    assert_eq!(next(&mut events).await, "- api");
    // Gone and made again before anybody looked: one change.
    let gone = Write { value: None, ..overwriting(WEB) };
    bench.store.interfere(vec![gone]);
    bench.store.commit(vec![overwriting(WEB)]).await.expect("nobody minds");
    assert_eq!(next(&mut events).await, "+ web @6");
    remove(&bench, "web").await;
    assert_eq!(next(&mut events).await, "- web");
}

#[tokio::test(start_paused = true)]
async fn only_what_matches_is_told() {
    let bench = Bench::new();
    let mut events = watch(&bench, "Service", "shop").await;
    assert_eq!(next(&mut events).await, "synced");
    bench.applied(&workload("w")).await;
    bench.applied(&WEB.replace("namespace: shop", "namespace: other")).await;
    settle().await;
    bench.applied(&service("api", "10.0.0.8", 80)).await;
    assert_eq!(next(&mut events).await, "+ api @3");
    let refused = bench.configuration.watch(Request::new(listing("Servce", ""))).await;
    assert_eq!(refused.expect_err("no kind").code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_skips_states_and_ends_up_with_the_newest() {
    let bench = Bench::new();
    let mut events = watch(&bench, "", "").await;
    for port in 1..=100 {
        bench.applied(&service("web", "10.0.0.7", port)).await;
        settle().await;
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "+ web @100") {
        told.push(next(&mut events).await);
    }
    assert!(told.len() < 25, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_reader_leaves() {
    let bench = Bench::new();
    let before = Arc::strong_count(&bench.catalog);
    let mut events = watch(&bench, "", "").await;
    assert_eq!(next(&mut events).await, "synced");
    assert_eq!(Arc::strong_count(&bench.catalog), before + 1);
    drop(events);
    settle().await;
    assert_eq!(Arc::strong_count(&bench.catalog), before);
}
