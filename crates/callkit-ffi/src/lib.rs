//! Voice calls from Python, Kotlin and Swift: the API of [`callkit`] for other languages, through
//! [UniFFI](https://mozilla.github.io/uniffi-rs/).
//!
//! ```sh
//! cargo xtask bindings all    # into target/bindings/<language>: the sources, and the library that they load
//! callkitd --dev              # a server with an app "demo" and a backend for it
//! ```
//!
//! | | Python 3.9 | Kotlin | Swift |
//! | --- | --- | --- | --- |
//! | import | `import callkit` | `import org.callkit.*` | `import OpenCallKit` (Apple has a `CallKit`) |
//! | names | `start_single_call` | `startSingleCall` | `startSingleCall` |
//! | async | coroutines of asyncio | suspend functions | async functions |
//! | events | `async for event in kit.events()` | `kit.eventFlow()`, a `Flow` | `for await event in kit.events()` |
//! | a listener to some events | `CallKitEventHandler` | `CallKitListener` | `CallKitEventHandler` |
//! | what fails | raises `CallError.Busy` | throws `CallException.Busy` | throws `CallError.Busy` |
//! | enum values | `CallType.AUDIO1V1` | `CallType.AUDIO1V1` | `.audio1v1` |
//! | needs | nothing | JNA, kotlinx-coroutines | nothing |
//!
//! [`CallKit`] is one signed-in user on one device. [`CallKitConfig`] is what it is built with; only the app must be named. An app supplies
//! an [`RtcTokenHandler`] and, where it likes, a [`UserMapperHandler`], both async. One that has a chat of its own may let that carry the
//! words of calls in place of the server: a [`Chat`] in the configuration. It is told what happens in one of two ways, or both:
//!
//! - [`CallKit::events`] gives an [`EventStream`], whose `next()` waits for the next [`CallKitEvent`]: pleasant in a coroutine, and it
//!   needs to know only the events that it cares for;
//! - [`CallKit::add_event_listener`] takes a [`CallKitEventHandler`] with a method for every event, called on a thread of the kit's own. One
//!   that lacks methods does nothing about their events.
//!
//! The face of one call ([`Call`]) has a handle for each call and a [`CallEventHandler`] that is told of this call alone, in place of the
//! kit's listeners; a [`CallManager`] makes and verifies such calls without a kit that is signed in.
//!
//! What goes wrong is a [`CallError`] with a `kind()` and a documented `code()`, or a [`SignInError`]. A handler that throws, whatever it
//! throws, is the error fetch_token_failed, and never the end of the program; what a listener or a chat throws goes to the log, which
//! [`init_logging`] sets up.
//!
//! # Python
//!
//! Streams are iterated (`async for event in kit.events()`), and a kit or a call is a context: `async with await CallKit.sign_in(…) as kit`
//! signs out at the end, `async with call` ends the call unless it is over.
//!
//! Each thread may have an event loop, and loops may follow one another. A handler or a chat runs on the loop on which it was given to the kit,
//! for as long as that runs; one that is set where no loop runs, on the loop on which the kit signed in. Where that loop is closed, it is
//! the error fetch_token_failed: set the handlers again on the new one.
//!
//! A process that was forked from one which used the kit has none of its threads. What it calls raises `RuntimeError`, the kits of its
//! parent go on there, and it ends as any other. Let `multiprocessing` spawn, or fork before the kit is used.
//!
//! ```python
#![doc = include_str!("../examples/answer.py")]
//! ```
//!
//! and, at the other end,
//!
//! ```python
#![doc = include_str!("../examples/call.py")]
//! ```
//!
//! # Kotlin
//!
//! `CallKit`, `EventStream` and `DevBackend` are `AutoCloseable`. Beside what is generated: `eventFlow`, `audioLevelFlow` and `statisticsFlow`,
//! each a `Flow` with a stream of its own from when it is collected; `asFlow` of a stream that was begun before; and the open classes
//! `CallKitListener`, `CallListener` and `MyMediaStatusListener`, of which an app overrides what it cares for. `cargo xtask kotlin` compiles all
//! of it and makes calls with it.
//!
//! ```kotlin
#![doc = include_str!("../examples/Answer.kt")]
//! ```
//!
//! ```kotlin
#![doc = include_str!("../examples/Call.kt")]
//! ```
//!
//! # Swift
//!
//! Beside what is generated: `EventStream`, `StatisticsStream` and `AudioLevelStream` are asynchronous sequences, and every method of a listener
//! has an empty default. No Swift compiler runs in this project's checks: what is generated is as UniFFI makes it, what is written by hand and
//! the two programs are held against its names and signatures.
//!
//! ```swift
#![doc = include_str!("../examples/Answer.swift")]
//! ```
//!
//! ```swift
#![doc = include_str!("../examples/Call.swift")]
//! ```
//!
//! # What it does not do
//!
//! It decides nothing: each method is one line that calls its twin, and the files are called as those of `callkit`. It knows neither an
//! app's own audio sources and sinks nor the Rust closures that `callkit` takes. A kit and a handler that hold each other are never let
//! go: a handler that needs the kit holds it weakly. What a kit still has to say through a chat is lost when the app only lets go of it, and
//! said when the app signs out.

uniffi::setup_scaffolding!("callkit");

mod call;
mod events;
mod kit;

mod account;
mod chat;
mod dev_backend;
mod device;
mod error;
mod handlers;
mod ids;
mod logging;
mod microphone;
mod quality;
mod reasons;
mod statistics;
mod tones;

pub use account::{AccountError, HistoryPage, PastCall};
pub use call::{
    BackgroundCall, Call, CallEventHandler, CallManager, CallOptions, CcParam, MakeCallParam, MyMediaStatusHandler,
    StartCallResult, VerifyBackgroundCallResult, VerifyCallParam, parse_cc_param,
};
pub use chat::{Chat, ChatMessage};
pub use dev_backend::{DevBackend, DevBackendError};
pub use device::{AudioInput, AudioOutput, input_devices, output_devices};
pub use error::{CallError, SignInError};
pub use events::{CallKitEvent, CallKitEventHandler, ConnectionState, EventStream};
pub use handlers::{AccessTokenHandler, HandlerError, RtcTokenHandler, UserMapper, UserMapperHandler};
pub use kit::{CallKit, CallKitConfig, Interfaces, WeakCallKit};
pub use logging::{LoggingError, init_logging};
pub use microphone::MicrophoneFailure;
pub use quality::CallQuality;
pub use reasons::{disconnect_reason_number, disconnect_source_number, start_fail_reason_number};
pub use statistics::{AudioLevelStream, AudioLevels, CallStatistics, NetworkStatistics, StatisticsStream};
pub use tones::{Tone, Tones, standard_tones};
