//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use callkit::Interfaces;
use clap::Parser;

/// By which of its two faces the kit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Face {
    Kit,
    Call,
}

/// A telephone in a terminal, for a server started with `callkitd --dev`.
///
/// It takes its commands from standard input, a line each: call USER, verify CC_PARAM, answer, decline, hangup, mute, unmute, hold,
/// unhold, speaker on, speaker off, quality, help, quit. It quits on `quit`, on ctrl-c, and when the input has ended and no call is left;
/// with --auto-answer it then goes on.
#[derive(Parser)]
#[command(
    name = "phone",
    verbatim_doc_comment,
    after_long_help = "Examples:
  phone alice                                      microphone and loudspeaker, commands from the keyboard
  phone bob --auto-answer --speech --hear bob.wav  answers everybody, speaks the bundled speech, keeps what it hears
  phone alice --face call                          calls made and verified here have a handler of their own
  phone alice --speech --hear alice.wav --script \"call bob; wait first_audio; wait 3; quality; hangup; wait call_end\"

Events that a script can wait for: receive_call, ringing, answer, joined_channel, user_joined, user_mute_audio, first_audio,
peer_reachable, peer_held, call_held, call_end, error, access_token_expiring, connection_changed. Of a call by its own
face: on_wait_connected, on_verified, on_connected, on_peer_hold, on_peer_unhold, on_peer_mic_muted, on_peer_mic_unmuted, on_disconnected.

RUST_LOG=callkit=debug shows what the kit does, on standard error."
)]
pub(crate) struct Options {
    /// Who you are; the account is made when it is not there yet
    #[arg(required_unless_present = "list_devices")]
    user: Option<String>,

    /// Where the server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7450")]
    server: String,

    /// The password of the account
    #[arg(long, default_value = "a password")]
    pub(crate) password: String,

    /// The name of this device; two phones of one user need two
    #[arg(long, default_value = "terminal")]
    pub(crate) device: String,

    /// Use the loopback interface only; done by itself when the server is on loopback
    #[arg(long)]
    loopback: bool,

    /// How long a call made here rings, in s (1 to 600)
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    ring: u64,

    /// Speak through the microphone, or through the one of this name [default, and silence where there is none]
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) mic: Option<String>,

    /// Speak this WAV file
    #[arg(long, value_name = "FILE", group = "voice", conflicts_with = "mic")]
    pub(crate) speak: Option<PathBuf>,

    /// Speak the bundled speech
    #[arg(long, group = "voice", conflicts_with = "mic")]
    pub(crate) speech: bool,

    /// Speak a 440 Hz tone
    #[arg(long, group = "voice", conflicts_with = "mic")]
    pub(crate) tone: bool,

    /// Speak the file or the speech once instead of over and over
    #[arg(long)]
    pub(crate) once: bool,

    /// Hear through the loudspeaker of this name [default: the system's, and none where there is none]
    #[arg(long, value_name = "NAME", conflicts_with = "hear")]
    pub(crate) speaker: Option<String>,

    /// Keep what is heard in this WAV file; the next call overwrites it
    #[arg(long, value_name = "FILE")]
    pub(crate) hear: Option<PathBuf>,

    /// The face of the calls made here: the kit-wide one, or the one of one call with a handler of its own
    #[arg(long, value_enum, default_value_t = Face::Kit)]
    pub(crate) face: Face,

    /// Answer every call at once
    #[arg(long)]
    pub(crate) auto_answer: bool,

    /// Carry out these commands, with `;` between them, and quit; `wait SECONDS` and `wait EVENT` are commands too
    #[arg(long, value_name = "COMMANDS")]
    pub(crate) script: Option<String>,

    /// List the microphones and loudspeakers of this machine and end
    #[arg(long)]
    pub(crate) list_devices: bool,
}

impl Options {
    pub(crate) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// The server with its scheme; `host:port` is enough on the command line.
    pub(crate) fn server_url(&self) -> String {
        if self.server.contains("://") { self.server.clone() } else { format!("http://{}", self.server) }
    }

    pub(crate) fn ring_for(&self) -> Duration {
        Duration::from_secs(self.ring)
    }

    /// Whoever can reach a server on loopback is on this machine, and so is its media.
    pub(crate) fn interfaces(&self) -> Interfaces {
        if self.loopback || is_on_loopback(&self.server) { Interfaces::Loopback } else { Interfaces::All }
    }
}

fn is_on_loopback(server: &str) -> bool {
    let after_scheme = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = after_scheme.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn options(words: &[&str]) -> Options {
        Options::parse_from(["phone"].iter().chain(words))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        assert!(Options::try_parse_from(["phone"]).is_err(), "somebody has to phone");
        assert!(Options::try_parse_from(["phone", "--list-devices"]).is_ok());
        assert!(Options::try_parse_from(["phone", "a", "--speech", "--tone"]).is_err(), "one voice");
        assert!(Options::try_parse_from(["phone", "a", "--mic", "--tone"]).is_err(), "one voice");
    }

    #[test]
    fn the_help_names_every_event_and_command() {
        let help = Options::command().render_long_help().to_string();
        let commands = crate::command::HELP.iter().flat_map(|(names, _)| names.split(", "));
        for name in commands.chain(crate::script::EVENTS.iter().copied()) {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn a_microphone_may_be_named_and_the_user_is_not_taken_for_its_name() {
        let named = options(&["--mic=Headset", "alice"]);
        assert_eq!((named.mic.as_deref(), named.user()), (Some("Headset"), "alice"));
        let unnamed = options(&["--mic", "alice"]);
        assert_eq!((unnamed.mic.as_deref(), unnamed.user()), (Some(""), "alice"));
    }

    #[test]
    fn a_server_on_loopback_is_seen_as_such() {
        for server in ["http://127.0.0.1:7450", "127.0.0.1:7450", "localhost", "http://[::1]:7450/", "127.0.0.9"] {
            assert!(is_on_loopback(server), "{server}");
        }
        for server in ["http://192.168.0.7:7450", "calls.example", "http://localhost.example:1"] {
            assert!(!is_on_loopback(server), "{server}");
        }
        assert_eq!(options(&["a"]).interfaces(), Interfaces::Loopback);
        assert_eq!(options(&["a", "--server", "calls.example:7450"]).interfaces(), Interfaces::All);
        assert_eq!(options(&["a", "--server", "calls.example:7450"]).server_url(), "http://calls.example:7450");
    }
}
