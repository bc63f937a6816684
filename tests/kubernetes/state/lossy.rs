//! A way to the API server on which writes and answers get lost.

use std::sync::Arc;
use std::sync::Mutex;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use outrigger::runtime::clock::Rng;
use tower::BoxError;

/// Of four writes about one never arrives, and of one the answer doesn't; with the same seed the
/// same ones.
pub fn lossy(client: Client, seed: u64) -> Client {
    let namespace = client.default_namespace().to_owned();
    let rng = Arc::new(Mutex::new(Rng::seeded(seed)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, rng) = (client.clone(), Arc::clone(&rng));
        async move {
            let writes = matches!(*request.method(), Method::PUT | Method::POST);
            let fate = rng.lock().expect("alive").below(4);
            match fate {
                0 if writes => Err("the write is lost".into()),
                1 if writes => {
                    client.send(request).await?;
                    Err("the answer is lost".into())
                }
                _ => Ok::<Response<Body>, BoxError>(client.send(request).await?),
            }
        }
    });
    Client::new(service, namespace)
}
