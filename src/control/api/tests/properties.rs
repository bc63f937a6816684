//! What holds whatever is applied: twice is once, and order is nothing.

use super::*;

/// Names, ports and addresses few enough to meet; no two share an address.
fn resources() -> impl Strategy<Value = Vec<String>> {
    let one = |name: usize| {
        (any::<bool>(), 1..4u16).prop_map(move |(is_service, variant)| {
            if is_service {
                service(&format!("s-{name}"), &format!("10.0.0.{name}"), variant)
            } else {
                workload(&format!("w-{name}")).replace("10.0.1.1", &format!("10.0.1.{variant}"))
            }
        })
    };
    let each: Vec<_> = (1..8usize).map(one).collect();
    (each, proptest::collection::vec(any::<bool>(), 7)).prop_map(|(all, taken)| {
        all.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(text, _)| text).collect()
    })
}

/// What is held, without versions and times.
async fn held(bench: &Bench) -> Vec<(String, String)> {
    let shown = bench.list("", "").await.expect("a list");
    let names = names(&shown);
    let manifests = shown.into_iter().map(|resource| {
        let mut manifest: serde_json::Value =
            serde_json::from_str(&resource.manifest).expect("JSON");
        let metadata = manifest["metadata"].as_object_mut().expect("metadata");
        metadata.retain(|name, _| name != "resourceVersion" && name != "creationTimestamp");
        manifest.to_string()
    });
    names.into_iter().zip(manifests).collect()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn applying_twice_is_applying_once(before in resources(), wanted in resources()) {
        run(async {
            let bench = Bench::new();
            bench.applied(&before.concat()).await;
            bench.applied(&wanted.concat()).await;
            let (once, commits) = (held(&bench).await, bench.store.commits());
            let again = bench.applied(&wanted.concat()).await;
            assert!(again.iter().all(|action| *action == Action::Unchanged), "{again:?}");
            assert_eq!((held(&bench).await, bench.store.commits()), (once, commits));
        });
    }

    #[test]
    fn the_order_of_documents_is_nothing(
        before in resources(),
        (wanted, shuffled) in resources().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        run(async {
            let (one, other) = (Bench::new(), Bench::new());
            for bench in [&one, &other] {
                bench.applied(&before.concat()).await;
            }
            let documents = |texts: &[String]| {
                let texts: Vec<_> = texts.iter().map(|text| ("a.yaml", text.as_str())).collect();
                call(&texts)
            };
            let mut first = one.send(documents(&wanted)).await.expect("an answer").changes;
            let mut second = other.send(documents(&shuffled)).await.expect("an answer").changes;
            assert_eq!(held(&one).await, held(&other).await);
            for changes in [&mut first, &mut second] {
                changes.sort_by_key(|change| format!("{change:?}"));
            }
            assert_eq!(first, second);
        });
    }
}
