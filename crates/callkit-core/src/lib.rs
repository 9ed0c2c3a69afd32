//! A signed-in device as one machine without I/O.
//!
//! [`Engine`] decides everything that a device decides: how its session with the server is kept, resumed and restored, and the access token renewed; which
//! messages the rules of a call ([`signaling`]) ask for, who is in a call's channel, which media paths there are to be, how the sound is to be, what each listener of the app
//! is told, and what handles of a call can read. It has one door in, one door out, and says when it wants to be woken; it reads no
//! clock, opens no socket, starts no thread, and draws what it needs of luck from the seed of its [`Settings`]: the same inputs give the same outputs.
//!
//! Whoever runs it, the shell, carries out what comes out, in that order, and brings back what comes of it. Work that takes time is an output
//! with an id, and what comes of it an input with the same id: commands of the app are answered by their [`CommandId`], a handler of the app answers a
//! [`RequestId`], a media path tells by its [`PathId`] how it does.
//!
//! ```
//! use callkit_core::{Command, CommandId, Engine, Input, Output, Response};
//! use signaling::Time;
//!
//! # fn settings() -> callkit_core::Settings {
//! #     use call_protocol::{AppId, DeviceId, Party, UserId};
//! #     callkit_core::Settings {
//! #         me: Party { user: UserId::new("alice").unwrap(), device: DeviceId::new("desk").unwrap() },
//! #         app_id: AppId::new("demo").unwrap(),
//! #         access_token: callkit_core::AccessToken("of the app's backend".into()),
//! #         cc_param: String::new(),
//! #         agent: String::new(),
//! #         ring_timeout_ms: 30_000,
//! #         second_call: Default::default(),
//! #         has_chat: false,
//! #         has_relay: false,
//! #         warm_path: Default::default(),
//! #         one_call: false,
//! #         audio: callkit_core::AudioSettings {
//! #             waits_for_activation: false,
//! #             allow_without_mic: true,
//! #             tones: Default::default(),
//! #             level_interval: std::time::Duration::from_millis(500),
//! #         },
//! #         seed: [7; 32],
//! #     }
//! # }
//! let mut engine = Engine::new(settings());
//! engine.handle_input(Time(0), Input::Command { id: CommandId(1), command: Command::InitRtc });
//! assert_eq!(engine.poll_output(), Some(Output::Reply { id: CommandId(1), response: Response::Done(Ok(())) }));
//! assert_eq!((engine.poll_output(), engine.next_wake()), (None, None));
//! ```
//!
//! The files in `engine/` follow the five words of a call: invite, ring, accept, media, end; then what these stand on. `session/` is the connection
//! below them: numbers, attempts to come back, the access token.
//!
//! What it does not do: carry frames, negotiate a description, code or mix sound, measure anything. Figures of a path and of the sound are the
//! shell's; [`Engine::figure_source`] says of which path.

mod engine;
mod session;

mod command;
mod input;
mod output;
mod event;
mod snapshot;
mod requests;
mod settings;
mod ids;

mod app_call;
mod audio_state;
mod call_media;
mod device_choice;
mod local_network;

mod error;
mod reasons;

pub use audio_state::{AudioState, Hears, OpenPath, Sends};
pub use command::{CallCommand, Command, Ending, MakeCall, Response, VerifyCall};
pub use engine::{Engine, FigureSource};
pub use error::{CallError, ErrorKind};
pub use event::{CallEvent, ConnectionState, KitEvent, MicrophoneFailure};
pub use ids::{AudioDeviceId, AudioSessionId, CallKey, CommandId, PathId, RequestId, StreamId};
pub use input::{AudioNotice, ConnectFailure, DeviceKind, Input, PathNotice, PathState, StreamNotice};
pub use output::{DesiredAudio, Output, PathCommand, PathConfig};
pub use reasons::{Disconnect, refused};
pub use requests::{AccessToken, Answer, Question, RtcToken, RtcTokenRequest, UserMapper};
pub use session::FirstSignIn;
pub use settings::{AudioSettings, CallSettings, Settings, ToneKind, ToneSet, WarmPath};
pub use snapshot::{CallSnapshot, CallState};
