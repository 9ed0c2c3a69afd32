//! Calls that one part of the app verifies and another one adopts.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use call_protocol::disconnect::StartFailReason;

use super::cc_param::CcParam;
use super::events::CallEventHandler;
use super::manager::any_device;
use super::param::{CallOptions, VerifyCallParam};
use super::{Call, CallManager, CallState};
use crate::error::CallError;
use crate::kit::CallKit;

/// What became of a call that was to be verified in the background.
#[derive(Debug, Clone)]
pub struct VerifyBackgroundCallResult {
    /// Why it did not start; [`StartFailReason::None`] if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub background_call: Option<BackgroundCall>,
}

/// A call that was verified in the background, for another part of the app to adopt.
#[derive(Debug, Clone)]
pub struct BackgroundCall {
    id: String,
    call: Call,
}

impl BackgroundCall {
    /// What [`CallManager::adopt_background_call`] takes; in another process, too, if a manager verified the call. Whoever has it can take the
    /// call: it is as secret as the cc_param, and as short-lived.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Declines it, without anybody adopting it.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] if it is over, or adopted elsewhere.
    pub async fn end(&self) -> Result<(), CallError> {
        self.call.end().await
    }
}

/// Calls verified in the background of this process, until they are adopted or over.
static BACKGROUND: LazyLock<Mutex<HashMap<String, Call>>> = LazyLock::new(Mutex::default);

fn background() -> MutexGuard<'static, HashMap<String, Call>> {
    // The map is whole between any two statements.
    BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another part of this process may adopt it from now on, if it started.
fn keep(id: String, verified: Result<Call, StartFailReason>) -> VerifyBackgroundCallResult {
    match verified {
        Ok(call) => {
            let mut calls = background();
            calls.retain(|_, call| call.state() != CallState::Disconnected);
            calls.insert(id.clone(), call.clone());
            let background_call = Some(BackgroundCall { id, call });
            VerifyBackgroundCallResult { reason: StartFailReason::None, background_call }
        }
        Err(reason) => VerifyBackgroundCallResult { reason, background_call: None },
    }
}

async fn adopt(call: Call, handler: Arc<dyn CallEventHandler>) -> Option<Call> {
    call.adopt(handler).await.ok().map(|()| call)
}

impl CallManager {
    /// The same for a process that may end before its user has decided, such as one that a push has woken. The call rings here until
    /// another part of the app, or another process, adopts it.
    pub async fn verify_background_call(
        &self,
        param: VerifyCallParam,
        handler: impl CallEventHandler + 'static,
    ) -> VerifyBackgroundCallResult {
        let device = any_device();
        // The server last, as nothing is known of what is in its address.
        let parts = [param.cc_param.as_str(), &device, &param.options.to_line(), self.builder.server_url()];
        let id = URL_SAFE_NO_PAD.encode(parts.join("\n"));
        keep(id, self.verify(param, Arc::new(handler), device, true).await)
    }

    /// Takes over a call that was verified in the background, `None` if there is no such call. The handler that it had is told
    /// [`on_background_call_adopted`](CallEventHandler::on_background_call_adopted) and nothing more.
    ///
    /// In the process that verified it, what is adopted goes on as it is: its [`state`](Call::state) is as it was. In another process one that a
    /// manager verified is verified anew, with the same options and as the same device, which replaces the one before: `on_verified` follows, or
    /// its end.
    pub async fn adopt_background_call(&self, id: &str, handler: impl CallEventHandler + 'static) -> Option<Call> {
        let handler: Arc<dyn CallEventHandler> = Arc::new(handler);
        let here = background().remove(id);
        if let Some(call) = here {
            return adopt(call, handler).await;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let mut parts = text.splitn(4, '\n');
        let (cc_param, device) = (CcParam::parse(parts.next()?)?, parts.next()?.to_owned());
        let (options, server) = (CallOptions::of_line(parts.next()?)?, parts.next()?);
        let param = VerifyCallParam { cc_param, options };
        let there = CallManager::new(self.builder.clone().server(server));
        there.verify(param, handler, device, false).await.ok()
    }
}

impl CallKit {
    /// [`CallKit::verify_call`] for another part of this process to adopt, such as one that has a user interface. The call rings in this kit until it
    /// is adopted, and the kit stays signed in for it.
    pub async fn verify_background_call(
        &self,
        param: VerifyCallParam,
        handler: impl CallEventHandler + 'static,
    ) -> VerifyBackgroundCallResult {
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        keep(id, self.verify(param, Arc::new(handler), true).await)
    }

    /// Takes over a call that was verified in the background of this process, as it is; `None` if there is no such call. The handler that it had
    /// is told [`on_background_call_adopted`](CallEventHandler::on_background_call_adopted) and nothing more.
    pub async fn adopt_background_call(&self, id: &str, handler: impl CallEventHandler + 'static) -> Option<Call> {
        let call = background().remove(id)?;
        adopt(call, Arc::new(handler)).await
    }
}
