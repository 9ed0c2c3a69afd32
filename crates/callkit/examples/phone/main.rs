//! A telephone in a terminal: `cargo run -p callkit --example phone -- alice`.
//!
//! It signs in at a `callkitd --dev`, makes and takes voice calls, and shows every event of the kit as one line. It speaks through
//! the machine's microphone and loudspeaker, or from and into WAV files. `--help` says the rest.

mod options;
mod sound;

mod command;
mod face;
mod phone;
mod script;

mod screen;

use std::io::BufRead;
use std::process::ExitCode;

use callkit::{Builder, CallKit, DevBackend, DevBackendError, RefuseReason, SignInError};
use clap::Parser;
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use command::{Command, Line};
use options::Options;
use phone::Phone;
use screen::Screen;

/// The app that a server knows with `--dev`.
const APP: &str = "demo";

/// Why the phone does not work, as a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Sentence(String),
    #[error("the script is not understood: {0}")]
    Script(#[from] command::NotUnderstood),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("phone: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<ExitCode, Failure> {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
            .init();
    }
    if options.list_devices {
        sound::list_devices();
        return Ok(ExitCode::SUCCESS);
    }
    let script = options.script.as_deref().map(script::parse).transpose()?;
    let mut screen = Screen::new();
    let input = sound::input(&options, &mut screen).map_err(Failure::Sentence)?;
    let output = sound::output(&options, &mut screen).map_err(Failure::Sentence)?;

    let builder = CallKit::builder(APP)
        .server(options.server_url())
        .device(&options.device)
        .call_timeout(options.ring_for())
        .level_interval(screen::REFRESH)
        .interfaces(options.interfaces())
        .audio_input(input)
        .audio_output(output);
    let signed_in = sign_in(&options, builder).await.map_err(Failure::Sentence)?;

    let (lines, inbox) = mpsc::unbounded_channel();
    let heard = script.map(|steps| script::start(steps, lines.clone()));
    if heard.is_none() {
        read_lines(lines);
    }
    let phone = Phone::new(signed_in, screen, options.face, options.auto_answer, heard);
    Ok(phone.run(inbox).await)
}

/// Registers with the development backend, signs in, and readies the media.
async fn sign_in(options: &Options, builder: Builder) -> Result<(CallKit, DevBackend), String> {
    let (server, user) = (options.server_url(), options.user());
    let backend = DevBackend::sign_in(&server, user, &options.password).await.map_err(|error| match error {
        DevBackendError::Unreachable(_) => {
            format!("no server answers at {server}; start one with `cargo run -p callkit-server -- --dev`")
        }
        DevBackendError::Refused(why) => {
            format!(
                "the server at {server} does not let {user} in: {why} (it has to run with --dev; see also --password)"
            )
        }
        _ => format!("what answers at {server} is not `callkitd --dev`"),
    })?;
    let kit = builder.sign_in(user, backend.access_token()).await.map_err(|error| match error {
        SignInError::Unreachable(why) => format!("the server at {server} cannot be reached: {why}"),
        SignInError::Refused { reason: RefuseReason::TokenInvalid, detail } => {
            format!("the server at {server} does not accept the token of its own backend: {detail}")
        }
        other => format!("{user} cannot sign in at {server}: {other}"),
    })?;
    backend.supply(&kit);
    kit.init_rtc().await.map_err(|error| error.to_string())?;
    Ok((kit, backend))
}

/// Commands typed or piped in. The thread ends with the input, or with the process.
fn read_lines(lines: mpsc::UnboundedSender<Line>) {
    std::thread::spawn(move || {
        // Bytes, since one that is not UTF-8 is a mistake in a line and not the end of the input.
        for text in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let line = match String::from_utf8_lossy(&text).parse() {
                Ok(command) => Line::Do(command),
                Err(error) => Line::NotUnderstood(error),
            };
            if lines.send(line).is_err() {
                return;
            }
        }
        // A phone that is gone does not mind.
        let _ = lines.send(Line::Do(Command::QuitWhenIdle));
    });
}
