//! What must never be in a log, at any level.

use callkit_server::outbox_alone::Outbox;

use crate::endpoint::{Reply, SECRET, app, ended, quick, rings, serve, soon, unix_ms};
use crate::log::Log;

#[tokio::test]
async fn no_user_body_address_or_secret_is_logged() {
    let log = Log::default();
    // All that the outbox does happens on the thread of this test.
    let _guard = tracing::subscriber::set_default(log.subscriber());
    let address = serve(|hit| match (hit.path.as_str(), hit.header("Callkit-Attempt")) {
        ("/notify", _) => Reply::Status(403),
        (_, "1") => Reply::Status(500),
        (_, _) => Reply::Status(204),
    })
    .await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    outbox.enqueue(rings("shop", 0x5eed, unix_ms() + 30_000));
    outbox.enqueue(ended("shop", 0x5eed, 0));
    for _ in 0..2 {
        soon(notices.recv()).await.unwrap();
    }
    let text = log.text();
    assert!(text.contains("given up") && text.contains("not delivered") && text.contains("5eed"), "{text}");
    for private in ["private", SECRET, &address.port().to_string(), "127.0.0.1", "/notify"] {
        assert!(!text.contains(private), "{private} is in the log:\n{text}");
    }
}
