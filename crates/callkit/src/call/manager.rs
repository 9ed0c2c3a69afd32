//! Calls without a kit: each signs in for itself and signs out when it is over.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use call_protocol::disconnect::StartFailReason;
use call_protocol::invite::CallType;
use call_protocol::{CallId, CcParam, UserId};
use signaling::Role;

use super::events::CallEventHandler;
use super::face::{Beginning, Face, FaceCommand, FaceId};
use super::param::{CallOptions, MakeCallParam, VerifyCallParam};
use super::reasons::Disconnect;
use super::{Call, CallState, MakeCallResult, VerifyCallResult};
use crate::error::CallError;
use crate::events::Teller;
use crate::kit::{Builder, Credentials};
use crate::link::SignInFailure;
use crate::sound::SoundChoices;

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
    builder: Builder,
}

/// What became of a call that was to be verified in the background.
#[derive(Debug, Clone)]
pub struct VerifyBackgroundCallResult {
    /// Why it did not start; [`StartFailReason::None`] if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub background_call: Option<BackgroundCall>,
}

/// A call that was verified in the background, for another part of the app to adopt: in this process, or in another one.
#[derive(Debug, Clone)]
pub struct BackgroundCall {
    id: String,
    call: Call,
}

impl BackgroundCall {
    /// What [`CallManager::adopt_background_call`] takes, in this process or in another one. Whoever has it can take the call: it is as
    /// secret as the cc_param, and as short-lived.
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

impl CallManager {
    /// A manager of calls that reach the server, and use devices, as this builder says. Its app, user and device are not used: the
    /// parameters of the calls name the first two, and each call is a device of its own.
    pub fn new(builder: Builder) -> CallManager {
        CallManager { builder }
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
        match builder.begin(user.as_str(), credentials, true).await {
            Ok(kit) => {
                ready(&kit).await?;
                kit.make(param, handler).await
            }
            Err(failure) => {
                let of = Stillborn { peer: param.peer_user_id, call_type: param.call_type, role: Role::Caller };
                stillborn(of, handler, failure)
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

    /// The same for a process that may end before its user has decided, such as one that a push has woken. The call rings here until
    /// another part of the app, or another process, adopts it.
    pub async fn verify_background_call(
        &self,
        param: VerifyCallParam,
        handler: impl CallEventHandler + 'static,
    ) -> VerifyBackgroundCallResult {
        let device = any_device();
        let id = URL_SAFE_NO_PAD.encode([param.cc_text.as_str(), &device, self.builder.server_url()].join("\n"));
        match self.verify(param, Arc::new(handler), device, true).await {
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

    /// Takes over a call that was verified in the background, `None` if there is no such call. The handler that it had is told
    /// [`on_background_call_adopted`](CallEventHandler::on_background_call_adopted) and nothing more.
    ///
    /// In the process that verified it, what is adopted goes on as it is: its [`state`](Call::state) is as it was. In another process it is
    /// verified anew, as the same device, which replaces the one before: `on_verified` follows, or its end.
    pub async fn adopt_background_call(&self, id: &str, handler: impl CallEventHandler + 'static) -> Option<Call> {
        let handler: Arc<dyn CallEventHandler> = Arc::new(handler);
        let here = background().remove(id);
        if let Some(call) = here {
            return call.ask(FaceCommand::Adopt(handler)).await.ok().map(|()| call);
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let mut parts = text.splitn(3, '\n');
        let (cc_text, device, server) = (parts.next()?.to_owned(), parts.next()?.to_owned(), parts.next()?);
        let cc_param = CcParam::parse(&cc_text)?;
        let param = VerifyCallParam { cc_param, cc_text, options: CallOptions::default() };
        let there = CallManager { builder: self.builder.clone().server(server) };
        there.verify(param, handler, device, false).await.ok()
    }

    async fn verify(
        &self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
        device: String,
        is_background: bool,
    ) -> Result<Call, StartFailReason> {
        let CcParam { app_id, user, peer, call_type, .. } = param.cc_param.clone();
        let builder = self.builder.clone().app(app_id.as_str()).device(device);
        let credentials = Credentials { access_token: String::new(), cc_param: param.cc_text.clone() };
        match builder.begin(user.as_str(), credentials, true).await {
            Ok(kit) => {
                ready(&kit).await?;
                kit.verify(param, handler, is_background).await
            }
            Err(failure) => stillborn(Stillborn { peer, call_type, role: Role::Callee }, handler, failure),
        }
    }
}

/// Each call is a device of its own, so that a second one does not replace the first.
fn any_device() -> String {
    format!("call-{:016x}", rand::random::<u64>())
}

async fn ready(kit: &crate::CallKit) -> Result<(), StartFailReason> {
    kit.init_rtc().await.map_err(|_| StartFailReason::InvalidStateToMakeCall)
}

/// A call whose sign-in failed.
struct Stillborn {
    peer: UserId,
    call_type: CallType,
    role: Role,
}

/// The handler is told why, as the end of the call.
fn stillborn(
    of: Stillborn,
    handler: Arc<dyn CallEventHandler>,
    failure: SignInFailure,
) -> Result<Call, StartFailReason> {
    tracing::info!(error = %failure.error, "a call did not sign in");
    let teller = Teller::start(tokio::runtime::Handle::current()).map_err(|_| StartFailReason::InternalUndefined)?;
    let Stillborn { peer, call_type, role } = of;
    let commands = tokio::sync::mpsc::unbounded_channel().0.downgrade();
    let (id, call_id) = (FaceId(0), CallId::from_bits(rand::random()));
    let beginning = Beginning {
        id,
        call_id,
        peer,
        call_type,
        role,
        options: CallOptions::default(),
        choices: SoundChoices::default(),
        handler,
        teller: teller.clone(),
        commands,
    };
    let mut face = Face::new(beginning);
    let call = face.handle();
    face.tell_end(Disconnect::by_server(failure.reason));
    teller.close();
    Ok(call)
}
