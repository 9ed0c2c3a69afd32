//! What the user can say to the phone.

use std::str::FromStr;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Call(String),
    /// Take up the call of which a push told: with what the push brought, or with what the server says that one would have brought.
    Verify(Option<String>),
    Answer,
    /// Cancels, declines or ends, by state.
    Hangup,
    Mute,
    Unmute,
    Hold(bool),
    Speaker(bool),
    Quality,
    Help,
    Quit,
    /// The input is over: quit when no call is left.
    QuitWhenIdle,
    Nothing,
}

/// What comes to the phone from whoever commands it.
#[derive(Debug)]
pub(crate) enum Line {
    Do(Command),
    /// A step of a script; the reply says whether it went well.
    Step(Command, tokio::sync::oneshot::Sender<bool>),
    NotUnderstood(NotUnderstood),
    /// The script cannot go on, and why.
    Stuck(String),
}

/// A line that is no command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no command `{0}`; `help` lists them")]
pub(crate) struct NotUnderstood(pub(crate) String);

pub(crate) const HELP: &[(&str, &str)] = &[
    ("call USER", "call somebody"),
    ("verify CC_PARAM", "take up the call that a push told of; without CC_PARAM the one that rings for you"),
    ("answer", "take the call that rings"),
    ("decline", "refuse the call that rings"),
    ("hangup", "cancel, refuse or end the call"),
    ("mute, unmute", "the microphone"),
    ("hold, unhold", "put the call on hold, go on with it"),
    ("speaker on, speaker off", "what is heard"),
    ("quality", "the figures of the call"),
    ("quit", "end the call, sign out, leave"),
];

impl FromStr for Command {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Command, NotUnderstood> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words.as_slice() {
            [] => Command::Nothing,
            // A name may have blanks in it.
            ["call" | "c", ..] if words.len() > 1 => Command::Call(after_the_first_word(text).to_owned()),
            ["verify" | "v"] => Command::Verify(None),
            ["verify" | "v", cc_param] => Command::Verify(Some((*cc_param).to_owned())),
            ["answer" | "a"] => Command::Answer,
            ["decline" | "hangup" | "h"] => Command::Hangup,
            ["mute" | "m"] => Command::Mute,
            ["unmute" | "u"] => Command::Unmute,
            ["hold"] => Command::Hold(true),
            ["unhold"] => Command::Hold(false),
            ["speaker", "on"] => Command::Speaker(true),
            ["speaker", "off"] => Command::Speaker(false),
            ["quality" | "q"] => Command::Quality,
            ["help" | "?"] => Command::Help,
            ["quit" | "exit"] => Command::Quit,
            _ => return Err(NotUnderstood(text.trim().to_owned())),
        })
    }
}

fn after_the_first_word(text: &str) -> &str {
    text.trim().split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_help_names_is_one() {
        for (names, _) in HELP {
            for name in names.split(", ") {
                let line = name.replace("USER", "bob").replace("CC_PARAM", "text");
                assert!(line.parse::<Command>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn what_is_no_command_is_named() {
        assert_eq!(" call  bob ".parse(), Ok(Command::Call("bob".into())));
        assert_eq!("".parse(), Ok(Command::Nothing));
        assert_eq!("c  Anne Marie  O'Hara ".parse(), Ok(Command::Call("Anne Marie  O'Hara".into())));
        for nonsense in ["call", "answer bob", "speaker", "dance", "c\u{fffd}ll bob"] {
            assert_eq!(nonsense.parse::<Command>(), Err(NotUnderstood(nonsense.into())));
        }
    }
}
