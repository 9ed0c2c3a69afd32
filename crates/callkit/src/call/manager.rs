//! Calls without a kit: each signs in for itself and signs out when it is over.

use std::sync::{Arc, Mutex, PoisonError};

use call_protocol::disconnect::StartFailReason;
use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use callkit_core::{CallKey, CallSnapshot, Disconnect};
use signaling::Role;

use super::events::CallEventHandler;
use super::live::LiveCall;
use super::param::{MakeCallParam, VerifyCallParam};
use super::{Call, CallState, MakeCallResult, VerifyCallResult};
use crate::handlers::AccessTokenHandler;
use crate::kit::{Builder, Credentials};
use crate::link::SignInFailure;

/// Makes and verifies calls for an app that keeps no [`CallKit`](crate::CallKit) signed in.
///
/// Each call signs in for itself: a made one with its access token, a verified one with nothing but the cc_param of its push. It signs
/// out when it is over. Calls of a manager do not know of each other; an app that wants a second call answered busy, or waiting, keeps a
/// kit and uses [`CallKit::make_call`](crate::CallKit::make_call) and [`CallKit::verify_call`](crate::CallKit::verify_call).
///
/// ```no_run
/// use callkit::{Call, CallEventHandler, CallKit, CallManager, DisconnectReason, DisconnectSource, MakeCallParam};
///
/// struct Screen;
///
/// impl CallEventHandler for Screen {
///     fn on_connected(&self, _call: &Call, _in_preparation: bool, _should_finish: bool) {
///         println!("talking");
///     }
///     fn on_disconnected(
///         &self,
///         _call: &Call,
///         reason: DisconnectReason,
///         _source: DisconnectSource,
///         _by_remote: bool,
///         _user_code: Option<&str>,
///     ) {
///         println!("over: {reason:?}");
///     }
/// }
///
/// # async fn example(access_token: String) -> Result<(), Box<dyn std::error::Error>> {
/// let manager = CallManager::new(CallKit::builder("demo").server("https://calls.example.org:7450"));
/// let param = MakeCallParam::builder()
///     .my_user_id("alice")
///     .my_service_id("demo")
///     .peer_user_id("bob")
///     .peer_service_id("demo")
///     .access_token(access_token)
///     .build()?;
/// let started = manager.make_call(param, Screen).await;
/// let call = started.call.ok_or("not started")?;
/// tokio::signal::ctrl_c().await?;
/// call.end().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CallManager {
    pub(super) builder: Builder,
    access_handler: Arc<Mutex<Option<Arc<dyn AccessTokenHandler>>>>,
}

impl CallManager {
    /// A manager of calls that reach the server, and use devices, as this builder says. Its app, user and device are not used: the
    /// parameters of the calls name the first two, and each call is a device of its own.
    pub fn new(builder: Builder) -> CallManager {
        CallManager { builder, access_handler: Arc::default() }
    }

    /// Sets who supplies a new access token before that of a made call ends, and when the server says that it has: any
    /// `async fn() -> Result<String, HandlerError>`. It is asked for the calls that are made from now on, with this manager or a clone of
    /// it, and for each by itself; one that fails is asked again after 1 s and more, up to 30 s. Without it a call whose token has ended
    /// goes on for as long as its connection does, or comes back while the server still has its session. Verified calls need no token.
    pub fn set_access_token_handler(&self, handler: impl AccessTokenHandler + 'static) {
        // Dropped when the lock is free again: it may call back.
        let before = self.access_handler.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(handler));
        drop(before);
    }

    /// Signs in and makes a call. A sign-in that fails is told to the handler as the end of the call, with a reason of 1501 to 1512.
    ///
    /// # Cancel safety
    /// Dropping the future before it is done makes no call, or ends it.
    pub async fn make_call(&self, param: MakeCallParam, handler: impl CallEventHandler + 'static) -> MakeCallResult {
        self.make(param, Arc::new(handler)).await.into()
    }

    async fn make(&self, param: MakeCallParam, handler: Arc<dyn CallEventHandler>) -> Result<Call, StartFailReason> {
        let user = param.my_user_id.clone();
        let builder = self.builder.clone().app(param.my_service_id.as_str()).device(any_device());
        let credentials = Credentials { access_token: param.access_token.clone(), cc_param: String::new() };
        let access_handler = self.access_handler.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match builder.begin(user.as_str(), credentials, true).await {
            Ok(kit) => {
                if let Some(handler) = access_handler {
                    kit.access_token_handler(handler);
                }
                ready(&kit).await?;
                kit.make(param, handler).await
            }
            Err(failure) => {
                let of = FailedCall { peer: param.peer_user_id, call_type: param.call_type, role: Role::Caller };
                failed(of, handler, failure)
            }
        }
    }

    /// Signs in with the cc_param and asks about its call: `on_verified`, and it rings; or `on_disconnected`, with the reason
    /// `ReleasedCall` if it is over. A cc_param that the server did not make is told as `ServiceAccessTokenError`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the call ringing at the user's other devices, if it does.
    pub async fn verify_call(
        &self,
        param: VerifyCallParam,
        handler: impl CallEventHandler + 'static,
    ) -> VerifyCallResult {
        self.verify(param, Arc::new(handler), any_device(), false).await.into()
    }

    pub(super) async fn verify(
        &self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
        device: String,
        is_background: bool,
    ) -> Result<Call, StartFailReason> {
        let call_protocol::CcParam { app_id, user, peer, call_type, .. } = (*param.cc_param).clone();
        let builder = self.builder.clone().app(app_id.as_str()).device(device);
        let credentials = Credentials { access_token: String::new(), cc_param: param.cc_param.as_str().to_owned() };
        match builder.begin(user.as_str(), credentials, true).await {
            Ok(kit) => {
                ready(&kit).await?;
                kit.verify(param, handler, is_background).await
            }
            Err(failure) => failed(FailedCall { peer, call_type, role: Role::Callee }, handler, failure),
        }
    }
}

/// Each call is a device of its own, so that a second one does not replace the first.
pub(super) fn any_device() -> String {
    format!("call-{:016x}", rand::random::<u64>())
}

async fn ready(kit: &crate::CallKit) -> Result<(), StartFailReason> {
    kit.init_rtc().await.map_err(|_| StartFailReason::InvalidStateToMakeCall)
}

/// A call whose sign-in failed.
struct FailedCall {
    peer: UserId,
    call_type: CallType,
    role: Role,
}

/// The handler is told why, as the end of the call.
fn failed(of: FailedCall, handler: Arc<dyn CallEventHandler>, failure: SignInFailure) -> Result<Call, StartFailReason> {
    tracing::info!(error = %failure.error, "a call did not sign in");
    let FailedCall { peer, call_type, role } = of;
    let snapshot = CallSnapshot {
        call_id: CallId::from_bits(rand::random()),
        peer,
        call_type,
        role,
        state: CallState::Trying,
        held: false,
        peer_held: false,
        muted: false,
        peer_muted: false,
        peer_silenced: false,
        preparing: false,
    };
    let requests = tokio::sync::mpsc::unbounded_channel().0.downgrade();
    let mut call = LiveCall::new(CallKey(0), snapshot, tokio::runtime::Handle::current(), requests);
    call.set_handler(handler);
    let handle = call.handle();
    call.end(Disconnect::not_signed_in(failure.reason, role));
    Ok(handle)
}
