//! Which idle connection a request may take.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::{Dialer, Far, Missed};
use crate::http::Body;
use crate::http::tail::Carrier;
use crate::model::Originate;
use crate::tls::Origination;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn request() -> Request<Body> {
    Request::builder().uri("/").header("host", "app").body(Body::empty()).expect("a request")
}

/// Answers every request; counts connections.
async fn app(listener: TcpListener, accepted: Rc<Cell<u32>>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        accepted.set(accepted.get() + 1);
        tokio::task::spawn_local(async move {
            let mut buf = [0; 4096];
            while stream.read(&mut buf).await.is_ok_and(|n| n > 0) {
                if buf.starts_with(b"GET ") && stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_connection_is_not_used_where_another_kind_of_security_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let local = LocalSet::new();
    local.spawn_local(app(listener, Rc::default()));
    local
        .run_until(async {
            let dialer = Dialer::new(Arc::new(ArcSwapOption::empty()));
            let pool = dialer.pool(0);
            let plain = Far::plain(address, Duration::from_secs(1), false);
            let sent = dialer.http1(&pool, plain, request(), true, || None, 0, None).await;
            let (_, mut via) = sent.expect("an answer in plaintext");
            via.finish(0);
            let policy = Originate { sni: Some("app.test".into()), ca_file: None };
            let origination = Origination::load(&policy, None);
            let secured = Far { origination: Some(&origination), ..plain };
            let sent = dialer.http1(&pool, secured, request(), true, || None, 0, None).await;
            assert!(matches!(sent, Err(Missed::Dial(_))), "the plaintext connection was taken");
            let idle = dialer.idle_h1(&pool, plain, true, 0, None);
            assert!(idle.is_some(), "it is still there for plaintext");
        })
        .await;
}

#[tokio::test]
async fn a_connection_of_older_credentials_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let accepted = Rc::new(Cell::new(0));
    let local = LocalSet::new();
    local.spawn_local(app(listener, Rc::clone(&accepted)));
    local
        .run_until(async {
            let dialer = Dialer::new(Arc::new(ArcSwapOption::empty()));
            let pool = dialer.pool(0);
            let far = Far::plain(address, Duration::from_secs(1), false);
            let sent = dialer.http1(&pool, far, request(), true, || None, 0, None).await;
            let (_, mut via) = sent.expect("an answer");
            dialer.renew();
            via.finish(0);
            assert!(dialer.idle_h1(&pool, far, true, 0, None).is_none(), "it came back");

            // One that is being made meanwhile is made anew.
            let mut sending = pin!(dialer.http1(&pool, far, request(), true, || None, 0, None));
            let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "connecting takes a turn of the loop");
            dialer.renew();
            let (_, mut via) = sending.await.expect("an answer");
            assert_eq!(accepted.get(), 3);
            via.finish(0);
            assert!(dialer.idle_h1(&pool, far, true, 0, None).is_some(), "it is of the newest");
        })
        .await;
}

#[test]
fn the_place_of_an_endpoint_goes_when_nobody_uses_it() {
    let dialer = Dialer::new(Arc::new(ArcSwapOption::empty()));
    let (unused, held) = (Rc::downgrade(&dialer.pool(7)), dialer.pool(u32::MAX));
    dialer.sweep(|_| true);
    assert!(unused.upgrade().is_none());
    assert!(Rc::ptr_eq(&held, &dialer.pool(u32::MAX)));
    dialer.sweep(|slot| slot != u32::MAX);
    assert!(!Rc::ptr_eq(&held, &dialer.pool(u32::MAX)), "it left, whoever holds it");
}
