//! The process of somebody who has no kit but the face of one call: an app that a push wakes. Driven by lines on standard input.

use callkit::{
    AudioOutput, Call, CallEventHandler, CallKit, CallManager, DevBackend, DisconnectReason, DisconnectSource,
    Interfaces, MakeCallParam, StartFailReason, VerifyCallParam,
};
use serde_json::json;
use tokio::io::AsyncBufReadExt;

use super::phone::{PASSWORD, run_and_exit, say};
use super::sound;

/// The first argument that makes a program a handset.
pub const AS_HANDSET: &str = "--as-handset";

/// The app of the servers of these processes.
const APP: &str = "demo";

/// How a handset process is to be.
#[derive(Debug, Clone)]
pub struct HandsetOptions {
    /// The user who calls, or is called.
    pub user: String,
    /// The server, `http://host:port`.
    pub server: String,
}

impl HandsetOptions {
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        [AS_HANDSET, &self.user, &self.server].map(str::to_owned).to_vec()
    }
}

/// Runs a handset and ends the process, if the arguments of this process ask for it.
pub fn run_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, user, server] = &arguments[..] else { return };
    if first != AS_HANDSET {
        return;
    }
    let options = HandsetOptions { user: user.clone(), server: server.clone() };
    run_and_exit(run(options));
}

async fn run(options: HandsetOptions) -> Result<(), String> {
    let builder = CallKit::builder(APP).server(&options.server).interfaces(Interfaces::Loopback);
    let manager = CallManager::new(builder.audio_input(sound::reply()?).audio_output(AudioOutput::Null));
    let mut call = None;
    say(json!({ "event": "ready" }));
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == "quit" {
            break;
        }
        match obey(&options, &manager, &line, call.as_ref()).await {
            Ok(begun) => call = begun.or(call),
            Err(error) => say(json!({ "event": "refused", "line": line, "error": error })),
        }
    }
    if let Some(call) = call {
        // One that is over is over.
        let _ = call.end().await;
    }
    say(json!({ "event": "signed_out" }));
    Ok(())
}

/// Carries out a line; gives the call that it begins.
async fn obey(
    options: &HandsetOptions,
    manager: &CallManager,
    line: &str,
    call: Option<&Call>,
) -> Result<Option<Call>, String> {
    let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["call", peer, seconds] => return make(options, manager, peer, seconds).await.map(Some),
        ["verify", cc_param] => {
            let verified = manager.verify_call(param(options, cc_param)?, Lines).await;
            return begun(verified.reason, verified.call).map(Some);
        }
        ["background", cc_param] => {
            let verified = manager.verify_background_call(param(options, cc_param)?, Lines).await;
            let background = begun(verified.reason, verified.background_call)?;
            say(json!({ "event": "background", "detail": background.id() }));
            return Ok(None);
        }
        ["adopt", id] => {
            let adopted = manager.adopt_background_call(id, Lines).await.ok_or("there is no such call")?;
            say(json!({ "event": "taken_over" }));
            return Ok(Some(adopted));
        }
        ["accept"] => call.ok_or("no call")?.accept(false).await,
        ["end"] => call.ok_or("no call")?.end().await,
        _ => return Err("not understood".into()),
    };
    done.map(|()| None).map_err(|error| error.to_string())
}

async fn make(options: &HandsetOptions, manager: &CallManager, peer: &str, seconds: &str) -> Result<Call, String> {
    let seconds = seconds.parse().map_err(|_| "how many seconds?")?;
    let backend = DevBackend::sign_in(&options.server, &options.user, PASSWORD).await;
    let backend = backend.map_err(|error| error.to_string())?;
    let param = MakeCallParam::builder()
        .my_user_id(&options.user)
        .my_service_id(APP)
        .peer_user_id(peer)
        .peer_service_id(APP)
        .access_token(backend.access_token())
        .no_answer(std::time::Duration::from_secs(seconds))
        .build()
        .map_err(|error| error.to_string())?;
    let made = manager.make_call(param, Lines).await;
    begun(made.reason, made.call)
}

fn param(options: &HandsetOptions, cc_param: &str) -> Result<VerifyCallParam, String> {
    let param = VerifyCallParam::builder().my_user_id(&options.user).my_service_id(APP).cc_param(cc_param);
    param.build().map_err(|error| error.to_string())
}

fn begun<T>(reason: StartFailReason, call: Option<T>) -> Result<T, String> {
    call.ok_or_else(|| format!("{reason:?}"))
}

/// Says what the handler of a call is told.
struct Lines;

impl CallEventHandler for Lines {
    fn on_wait_connected(&self, _: &Call) {
        say(json!({ "event": "wait_connected" }));
    }
    fn on_verified(&self, _: &Call, _: bool) {
        say(json!({ "event": "verified" }));
    }
    fn on_connected(&self, _: &Call, _: bool, _: bool) {
        say(json!({ "event": "connected" }));
    }
    fn on_disconnected(
        &self,
        _: &Call,
        reason: DisconnectReason,
        _: DisconnectSource,
        _: bool,
        user_code: Option<&str>,
    ) {
        say(json!({ "event": "disconnected", "detail": format!("{reason:?}"), "user_code": user_code }));
    }
    fn on_background_call_adopted(&self, _: &Call) {
        say(json!({ "event": "adopted" }));
    }
}
