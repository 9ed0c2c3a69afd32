//! Voice calls for any app, on the developer's own server.
//!
//! A [`CallKit`] is one user, signed in on one device. It makes, takes and ends one-to-one voice calls, and tells the app what
//! happens. Ringing and answering go through the app's own `callkitd`; the voice goes from device to device, encrypted (ICE,
//! DTLS, SRTP), as Opus.
//!
//! ```no_run
//! use callkit::{CallId, CallKit, CallKitEventHandler, CallType, DevBackend, EndReason, Ext, UserId, WeakCallKit};
//!
//! /// Answers everybody.
//! struct Secretary(WeakCallKit);
//!
//! impl CallKitEventHandler for Secretary {
//!     fn on_receive_call(&self, user: &UserId, call_id: CallId, _call_type: CallType, _ext: &Ext) {
//!         println!("{user} calls");
//!         // Listeners run on threads of their own, in the kit's runtime.
//!         let Some(kit) = self.0.upgrade() else { return };
//!         tokio::spawn(async move { kit.answer(call_id).await });
//!     }
//!
//!     fn on_call_end(&self, _call_id: CallId, reason: EndReason, _user_code: Option<&str>) {
//!         println!("over: {reason}");
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The reference backend of `callkitd --dev`; a real app asks its own backend for the tokens.
//! let backend = DevBackend::sign_in("http://127.0.0.1:7450", "alice", "a password").await?;
//! let kit = CallKit::builder("demo").device("desk").sign_in("alice", backend.access_token()).await?;
//! backend.supply(&kit);
//! kit.init_rtc().await?;
//! kit.add_event_listener("secretary", Secretary(kit.downgrade()));
//! tokio::signal::ctrl_c().await?;
//! kit.sign_out().await;
//! # Ok(())
//! # }
//! ```
//!
//! # One call
//!
//! | | the caller | the callee |
//! | --- | --- | --- |
//! | invite | [`start_single_call`](CallKit::start_single_call) gives the call's id | |
//! | ring | [`on_ringing`](CallKitEventHandler::on_ringing) | [`on_receive_call`](CallKitEventHandler::on_receive_call) |
//! | accept | [`on_answer`](CallKitEventHandler::on_answer) | [`answer`](CallKit::answer), then `on_answer` |
//! | media | `on_joined_channel`, `on_user_joined`, `on_first_audio`; [`mute`](CallKit::mute), [`call_quality`](CallKit::call_quality) | the same |
//! | end | [`hangup`](CallKit::hangup) at any time, at either side | [`on_call_end`](CallKitEventHandler::on_call_end), exactly once at each side |
//!
//! [`EndReason`] says how it ended, from the side of whoever is told. `hangup` cancels, declines or ends, by state.
//!
//! # The face of one call
//!
//! The same calls can be had each with a handle, [`Call`], and a handler of its own, [`CallEventHandler`]: from a kit by
//! [`make_call`](CallKit::make_call) and [`verify_call`](CallKit::verify_call), or without a kit that is signed in by a [`CallManager`],
//! where each call signs in for itself, a verified one with nothing but the `cc_param` of its push. Such a call needs no channel token. Its
//! events go to its handler and not to the kit-wide listeners. Ends have the documented numbers ([`DisconnectReason`]), and so have calls
//! that do not start ([`StartFailReason`]); `docs/reasons.md` says what makes each happen.
//!
//! | | the caller | the callee |
//! | --- | --- | --- |
//! | invite | [`MakeCallParam`], `make_call` | [`CcParam`] of a push, [`VerifyCallParam`], `verify_call` |
//! | ring | [`on_wait_connected`](CallEventHandler::on_wait_connected) | [`on_verified`](CallEventHandler::on_verified) |
//! | accept | | [`accept`](Call::accept), with or without preparation |
//! | media | [`on_connected`](CallEventHandler::on_connected), hold, mute, levels, [`statistics`](Call::statistics) | the same; [`finish_preparation`](Call::finish_preparation) |
//! | end | [`end`](Call::end), [`end_with_code`](Call::end_with_code), [`end_with_error`](Call::end_with_error); [`on_disconnected`](CallEventHandler::on_disconnected), exactly once at each side | the same |
//!
//! A handle of any other call of a kit, with its state, kind and peer, comes from [`CallKit::call`] and [`CallKit::calls`]: from
//! [`on_receive_call`](CallKitEventHandler::on_receive_call) to a [`Call`] it is one step. Such a call is told to the listeners of the kit.
//!
//! # What the app supplies
//!
//! - An access token to sign in with, and a handler for channel tokens ([`RtcTokenHandler`]); both are signed by the app's
//!   backend with the app's secret. The handler is asked when a call begins or rings, so that the answer need not wait for it.
//! - A handler for new access tokens ([`AccessTokenHandler`]), asked before the present one ends, or
//!   [`renew_access_token`](CallKit::renew_access_token) when
//!   [`on_access_token_expiring`](CallKitEventHandler::on_access_token_expiring) says so.
//! - If it wants to be told users and not only uids: a [`UserMapperHandler`].
//! - A tokio runtime: the kit lives on the one in which it was signed in.
//! - Where not the system's: [`AudioInput`] and [`AudioOutput`], real devices, WAV files, memory, or the app's own. Devices
//!   are opened when a call is accepted and released when it ends.
//!
//! # Sound
//!
//! - Levels: [`mic_level`](CallKit::mic_level) and [`peer_level`](CallKit::peer_level) at any time, [`audio_levels`](CallKit::audio_levels) at an interval.
//! - Tones: ringback, ring, hold, waiting and end tone ([`Tones`]), each none (the default), the kit's own, a WAV file or samples. They are played
//!   here and never sent.
//! - Hold: neither microphone is sent; whoever holds lets go of the microphone, and the held side may hear its hold tone.
//! - [`silence_peer`](CallKit::silence_peer) plays the other side no more, but only here.
//! - Without a microphone a call listens, unless [`allow_call_without_mic`](Builder::allow_call_without_mic) says that it ends;
//!   [`check_microphone`](CallKit::check_microphone) asks before a call.
//! - Devices are chosen before signing in and at any time later ([`set_audio_input`](CallKit::set_audio_input),
//!   [`set_audio_output`](CallKit::set_audio_output)), in a call too. Where the default changes in a call, the call follows within 2 s; on Linux
//!   with feature `pulseaudio` (ALSA does not tell the default of a sound server).
//! - Where the system activates the audio (iOS with CallKit): [`wait_for_audio_activation`](Builder::wait_for_audio_activation) and
//!   [`set_audio_active`](CallKit::set_audio_active).
//! - Figures: [`statistics`](CallKit::statistics), or [as a stream](CallKit::statistics_stream).
//!
//! # What happens when something breaks
//!
//! - The server is out of reach: [`ConnectionState::Reconnecting`]; the voice goes on, a hang-up is said on the media path, and what else
//!   the app wants meanwhile is said when the server is back. A new call is refused with [`CallError::Disconnected`].
//! - The access token has ended: a broken connection to a session that the server still has is taken up all the same; else the kit stays
//!   [`ConnectionState::Reconnecting`] until there is a new token. Calls go on meanwhile.
//! - The device is on another network: noticed within 250 ms; the media path is moved, and the connection made anew if its address is gone
//!   or the server does not answer within 2 s. A connection that still works stays.
//! - The server refuses, and that may pass (too many, too busy, about to stop): it is tried again, at longer and longer intervals. A token
//!   that it does not take is renewed where there is a handler; else that ends as [`ConnectionState::SignedOut`], as other refusals do.
//! - The media path breaks: the caller's side looks for a new one; after 15 s the call ends with `remote_drop`.
//! - The other end is gone: [`on_peer_reachable`](CallKitEventHandler::on_peer_reachable) after 10 s of silence towards the server,
//!   the end with `remote_drop` after 15 s.
//! - A device fails: [`CallError::Device`]; the call goes on without it. A microphone is told with [`MicrophoneFailure`], too. It is tried again
//!   after 0.5 s and then less and less often, up to every 30 s; the system's default stands in for a named device until that is back.
//! - Neither the server nor the other end can be reached: [`on_network_available`](CallKitEventHandler::on_network_available) with the time until the
//!   call ends.
//! - The token handler fails: [`CallError::FetchTokenFailed`] and the end of the call, but only where a token is needed to join; a
//!   failed renewal is told and tried again when the server asks again.
//! - The last handle is dropped: a running call is ended and the device signs out. A handle that a listener holds counts: give it a
//!   [`WeakCallKit`].
//! - A listener or handler of the app panics, blocks or never answers: it alone is affected. Handlers are waited for 10 s, and without an answer of
//!   the user mapper events carry no user.
//!
//! # Inside
//!
//! One task, the driver, owns a machine without I/O (`callkit-core`) that holds everything a kit knows and decides; handles send it requests. The stream to
//! the server, the media path and the app's handlers run on tasks of their own and report to it. A thread of its own moves the voice every 10 ms, and each listener is called on
//! one of its own, so that a listener that blocks stops neither the call nor the kit nor other listeners. Devices are opened on threads of their own, so that a slow
//! one does not stop the sound; what the sound is to be follows from the state of the calls alone. No rule is here: those of a call are in the
//! `signaling` crate, those of a device in `callkit-core`.
//!
//! # Features
//!
//! - `devices` (default): real microphones and loudspeakers. Without it the defaults are silence and nowhere.
//! - `pulseaudio`: a PulseAudio or PipeWire server is spoken to directly, in pure Rust: its devices are listed, and its default is followed.
//! - `dev-backend` (default): [`DevBackend`], a client of the reference backend of `callkitd --dev`.
//!
//! # What it does not do
//!
//! Video (a video call rings as one and carries voice), group calls, push, echo cancellation. Relays it uses ([`TurnServer`]), but
//! brings none.
//!
//! The terminal phone, `cargo run -p callkit --example phone -- --help`, is a whole app on top of it.

pub mod events;
mod kit;

mod call;

mod driver;
mod report;
mod request;
mod shutdown;

mod account;
mod app_devices;
mod chat;
mod devices;
mod dial;
mod dispatch;
#[cfg(feature = "dev-backend")]
mod dev_backend;
mod error;
mod figures;
mod handlers;
mod link;
mod listeners;
mod microphone;
mod network;
mod peer;
mod quality;
mod sound;
mod statistics;
mod supplied;
mod tones;
mod voice;
mod wire;

pub use account::AccountError;
pub use call::{
    BackgroundCall, Call, CallDirection, CallEventHandler, CallKitType, CallManager, CallOptions, CcParam,
    MakeCallParam, MakeCallParamBuilder, MakeCallResult, MyMediaStatus, MyMediaStatusHandler, NO_ANSWER, ParamError,
    VerifyBackgroundCallResult, VerifyCallParam, VerifyCallParamBuilder, VerifyCallResult,
};
pub use chat::Chat;
#[cfg(feature = "dev-backend")]
pub use dev_backend::{DevBackend, DevBackendError};
pub use error::SignInError;
pub use events::{CallKitEvent, CallKitEventHandler, ConnectionState};
pub use handlers::{AccessTokenHandler, HandlerError, RtcTokenHandler, UserMapperHandler};
pub use kit::{Builder, CallKit, WeakCallKit};
pub use microphone::MicrophoneFailure;
pub use quality::CallQuality;
pub use sound::AudioLevels;
pub use statistics::{CallStatistics, NetworkStatistics};
pub use tones::{Tone, Tones};

#[doc(inline)]
pub use callkit_core::{CallError, CallState, ErrorKind, RtcToken, RtcTokenRequest, UserMapper, WarmPath};

pub use call_protocol::account::{HistoryPage, PastCall, PushAddress};
pub use call_protocol::disconnect::{DisconnectReason, DisconnectSource, StartFailReason};
pub use call_protocol::end::EndReason;
pub use call_protocol::invite::{CallType, Ext};
pub use call_protocol::media::JoinRefusal;
pub use call_protocol::session::RefuseReason;
pub use call_protocol::{AppId, CallId, ChannelId, DeviceId, IdError, Uid, UserId};
pub use rtc_media::{
    AudioInput, AudioOutput, AudioSink, AudioSource, Clip, DeviceError, Direction, Frame, ReadOutcome, Recording,
    input_devices, output_devices,
};
pub use rtc_transport::{Interfaces, TurnServer};
pub use signaling::SecondCall;

#[cfg(all(doctest, feature = "dev-backend"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_example_as_it_is() {
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(include_str!("../examples/answer.rs")));
    }
}
