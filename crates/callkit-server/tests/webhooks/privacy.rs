//! What must never be in a log, at any level.

use std::io;
use std::sync::{Arc, Mutex};

use callkit_server::outbox_alone::Outbox;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::endpoint::{Reply, SECRET, app, ended, quick, rings, serve, soon, unix_ms};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn no_user_body_address_or_secret_is_logged() {
    let log = Log::default();
    let filter = EnvFilter::new("info,callkit_server=trace");
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log.clone());
    // All that the outbox does happens on the thread of this test.
    let _guard = tracing::subscriber::set_default(subscriber.finish());
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
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("given up") && text.contains("not delivered") && text.contains("5eed"), "{text}");
    for private in ["private", SECRET, &address.port().to_string(), "127.0.0.1", "/notify"] {
        assert!(!text.contains(private), "{private} is in the log:\n{text}");
    }
}
