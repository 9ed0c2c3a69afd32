//! A server with an app, and the app's backend, which hears its webhooks.

use std::net::SocketAddr;

use call_protocol::invite::Invite;
use call_protocol::session::{Hello, PROTOCOL_VERSION};
use call_protocol::{CallId, Word};
use callkit_server::{AppConfig, LimitsConfig, Server, ServerConfig, WebhookConfig};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::client::{Client, app, config, soon};
use crate::endpoint::{Reply, SECRET, serve};
use crate::words;

pub struct Backend {
    pub address: SocketAddr,
    hits: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Backend {
    pub async fn start() -> Backend {
        Self::answering(204).await
    }

    /// One that answers everything with this status.
    pub async fn answering(status: u16) -> Backend {
        let (sender, hits) = mpsc::unbounded_channel();
        let address = serve(move |hit| {
            sender.send((hit.path.clone(), hit.json())).ok();
            Reply::Status(status)
        })
        .await;
        Backend { address, hits }
    }

    /// The app `shop` with this backend.
    pub fn app(&self) -> AppConfig {
        let webhooks = WebhookConfig {
            notify_url: Some(format!("http://{}/notify", self.address)),
            call_event_url: Some(format!("http://{}/call-event", self.address)),
            secrets: vec![SECRET.into()],
            ..WebhookConfig::default()
        };
        AppConfig { webhooks: Some(webhooks), ..app("shop") }
    }

    /// The server's configuration with this app, and one that has no backend.
    pub fn config(&self) -> ServerConfig {
        ServerConfig { apps: vec![self.app(), app("bank")], limits: LimitsConfig::none(), ..config() }
    }

    pub async fn server(&self) -> Server {
        Server::start(self.config()).await.unwrap()
    }

    async fn next(&mut self, path: &str) -> Value {
        let (at, body) = soon("a webhook", self.hits.recv()).await.unwrap();
        assert_eq!(at, path, "{body}");
        body
    }

    pub async fn notify(&mut self) -> Value {
        self.next("/notify").await
    }

    pub async fn call_event(&mut self) -> Value {
        self.next("/call-event").await
    }

    /// The cc_param of the next call that rings.
    pub async fn cc_param(&mut self) -> String {
        self.notify().await["cc_param"].as_str().unwrap().to_owned()
    }
}

/// An invite from ann to bob that rings so long.
pub fn invite(call_id: CallId, ring_timeout_ms: u32) -> Invite {
    match words::invite(call_id, "ann", "bob") {
        Word::Invite(invite) => Invite { ring_timeout_ms, ..*invite },
        other => panic!("{other:?}"),
    }
}

/// A sign-in of bob with nothing but a cc_param.
pub fn by_cc_param(cc_param: &str) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        app_id: "shop".into(),
        access_token: String::new(),
        user: "bob".into(),
        device: "phone".into(),
        resume: None,
        agent: "test".into(),
        cc_param: cc_param.into(),
        for_one_call: false,
    }
}

/// Ann calls bob, who is not there; the cc_param that would wake bob.
pub async fn call(backend: &mut Backend, ann: &mut Client, call_id: CallId, ring_timeout_ms: u32) -> String {
    ann.say(call_id, Word::Invite(Box::new(invite(call_id, ring_timeout_ms)))).await;
    ann.word().await;
    backend.cc_param().await
}
