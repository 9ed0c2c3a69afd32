//! Backends that fail in every way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callkit_server::outbox_alone::{Kind, Outbox, Pace};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::endpoint::{Hit, Reply, app, ended, quick, rings, serve, soon, unix_ms};

/// A backend that gives these answers and then is well, and what it hears.
async fn after(plan: &'static [Reply]) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<Hit>) {
    let (hits, heard) = mpsc::unbounded_channel();
    let count = AtomicU32::new(0);
    let address = serve(move |hit| {
        hits.send(hit).unwrap();
        let at = count.fetch_add(1, Ordering::SeqCst) as usize;
        plan.get(at).copied().unwrap_or(Reply::Status(204))
    })
    .await;
    (address, heard)
}

#[tokio::test]
async fn a_failure_is_tried_again_under_the_same_id_until_it_is_taken() {
    let plan = &[Reply::Status(500), Reply::Status(404), Reply::Later(0), Reply::Silence, Reply::Status(410)];
    let (address, mut heard) = after(plan).await;
    let pace = Pace { timeout: Duration::from_secs(1), ..quick() };
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], pace).unwrap();
    outbox.enqueue(ended("shop", 1, 0));
    assert_eq!(soon(notices.recv()).await.unwrap().given_up, None);
    let hits: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let attempts: Vec<_> = hits.iter().map(|hit| hit.header("Callkit-Attempt").to_owned()).collect();
    assert_eq!(attempts, ["1", "2", "3", "4", "5", "6"]);
    assert!(hits.iter().all(|hit| hit.body == hits[0].body));
    assert!(hits.iter().all(|hit| hit.header("Callkit-Delivery") == hits[0].header("Callkit-Delivery")));
}

#[tokio::test]
async fn who_asks_for_time_gets_it_and_holds_up_no_other_call() {
    let (hits, mut heard) = mpsc::unbounded_channel();
    let address = serve(move |hit| {
        let (call, n) = hit.number();
        hits.send((call, n)).unwrap();
        if call == 1 { Reply::Later(3_600) } else { Reply::Status(204) }
    })
    .await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    outbox.enqueue(ended("shop", 1, 0));
    outbox.enqueue(ended("shop", 1, 1));
    for n in 0..200 {
        outbox.enqueue(ended("shop", 2, n));
    }
    for _ in 0..200 {
        assert_eq!(soon(notices.recv()).await.unwrap().call_id.bits(), 2);
    }
    let of_one = std::iter::from_fn(|| heard.try_recv().ok()).filter(|(call, _)| *call == 1).count();
    assert_eq!(of_one, 1, "one attempt, and nothing of the call after it");
}

#[tokio::test]
async fn a_backend_that_is_not_there_yet_gets_everything_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    for call in 0..40 {
        outbox.enqueue(ended("shop", call, 0));
    }
    outbox.stored().await;
    // Something that is given up only because nobody is there.
    outbox.enqueue(rings("shop", 99, unix_ms() + 200));
    let notice = soon(notices.recv()).await.unwrap();
    assert_eq!((notice.kind, notice.given_up), (Kind::Notify, Some("out of time")));
    let listener = TcpListener::bind(address).await.unwrap();
    let pages = axum::Router::new().fallback(async || axum::http::StatusCode::NO_CONTENT);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    for _ in 0..40 {
        assert_eq!(soon(notices.recv()).await.unwrap().given_up, None);
    }
}

#[tokio::test]
async fn events_of_a_call_come_in_order_whatever_fails() {
    let taken: Arc<Mutex<HashMap<u128, Vec<u32>>>> = Arc::default();
    let (count, book) = (AtomicU32::new(0), Arc::clone(&taken));
    let address = serve(move |hit| {
        let (call, n) = hit.number();
        let mut book = book.lock().unwrap();
        let of_call = book.entry(call).or_default();
        assert_eq!(of_call.len(), n as usize, "tried before the one before it was taken");
        match count.fetch_add(1, Ordering::SeqCst) % 5 {
            0 => Reply::Status(500),
            1 => Reply::Later(0),
            _ => {
                of_call.push(n);
                Reply::Status(204)
            }
        }
    })
    .await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    for n in 0..20 {
        for call in 0..10 {
            outbox.enqueue(ended("shop", call, n));
        }
    }
    for _ in 0..200 {
        soon(notices.recv()).await.unwrap();
    }
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 10);
    assert!(taken.values().all(|of_call| *of_call == (0..20).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_notify_that_is_refused_is_given_up_at_once_and_the_hub_hears_it() {
    let (address, mut heard) = after(&[Reply::Status(410), Reply::Redirect("/elsewhere")]).await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    for why in ["refused", "redirected"] {
        outbox.enqueue(rings("shop", 1, unix_ms() + 30_000));
        let notice = soon(notices.recv()).await.unwrap();
        assert_eq!((notice.kind, notice.given_up, notice.call_id.bits()), (Kind::Notify, Some(why), 1));
    }
    let paths: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).map(|hit| hit.path).collect();
    assert_eq!(paths, ["/notify", "/notify"], "a redirect is not followed");
}

#[tokio::test]
async fn nobody_is_notified_after_the_ring_deadline() {
    let (address, mut heard) = after(&[]).await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    outbox.enqueue(rings("shop", 1, unix_ms() - 1));
    assert_eq!(soon(notices.recv()).await.unwrap().given_up, Some("out of time"));
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_dead_backend_of_one_app_is_in_no_other_apps_way() {
    let dead = serve(|_| Reply::Silence).await;
    let (well, _heard) = after(&[]).await;
    // An attempt at the dead one never ends.
    let pace = Pace { timeout: Duration::from_secs(86_400), ..quick() };
    let (outbox, mut notices, _running) =
        Outbox::start_alone(None, &[app("dead", dead), app("well", well)], pace).unwrap();
    for call in 0..300 {
        outbox.enqueue(ended("dead", call, 0));
    }
    for call in 0..300 {
        outbox.enqueue(ended("well", call, 0));
    }
    for _ in 0..300 {
        assert_eq!(soon(notices.recv()).await.unwrap().app.as_str(), "well");
    }
}

#[tokio::test]
async fn many_dead_backends_take_nothing_from_one_that_is_well() {
    let (hits, mut heard) = mpsc::unbounded_channel();
    let dead = serve(move |_| {
        hits.send(()).unwrap();
        Reply::Silence
    })
    .await;
    let (well, _heard) = after(&[]).await;
    let names: Vec<_> = (0..40).map(|number| format!("dead-{number:02}")).collect();
    let mut apps: Vec<_> = names.iter().map(|name| app(name, dead)).collect();
    apps.push(app("well", well));
    let pace = Pace { timeout: Duration::from_secs(86_400), at_once: 64, ..quick() };
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &apps, pace).unwrap();
    for name in &names {
        for call in 0..40 {
            outbox.enqueue(ended(name, call, 0));
        }
    }
    // All that is shared is theirs, and one attempt of each.
    for _ in 0..40 + 64 {
        soon(heard.recv()).await.unwrap();
    }
    for call in 0..300 {
        outbox.enqueue(ended("well", call, 0));
    }
    for _ in 0..300 {
        assert_eq!(soon(notices.recv()).await.unwrap().app.as_str(), "well");
    }
    assert!(heard.try_recv().is_err(), "they got more than their part");
}
