//! Mistakes put in front of the machines, to see that each property can fail. The machines themselves stay as they are.

use call_protocol::accept::{AnswerConfirm, AnswerResult};
use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Party, Word};

/// A mistake that a machine could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// Every device takes itself to be the one that took the call.
    EveryoneWins,
    /// A device does not hear that what rings is over.
    RingsOn,
    /// The app is told each end twice.
    EndsTwice,
    /// The app is told of each missed call twice.
    MissedTwice,
    /// Messages count whatever call they are about and whoever sends them.
    StraysCount,
    /// Who calls does not hear that the other one calls, too.
    DeafToGlare,
    /// A call that is put on hold goes on.
    HoldsNothing,
    /// A device does not hear the end of a running call.
    TalksOn,
    /// Nobody says that they are still there.
    NoSignOfLife,
    /// A command is given twice.
    StutteringHands,
}

impl Plant {
    /// What a device hears of a message; `None` if nothing.
    pub(crate) fn heard(self, me: &Party, is_calling: bool, message: CallMessage) -> Option<CallMessage> {
        let CallMessage { call_id, word } = message;
        let word = match (self, word) {
            (Plant::EveryoneWins, Word::AnswerConfirm(confirm)) if confirm.result == AnswerResult::Accept => {
                Word::AnswerConfirm(AnswerConfirm { winner: me.clone(), ..confirm })
            }
            (
                Plant::RingsOn,
                Word::Cancel(_) | Word::AnswerConfirm(_) | Word::RingConfirm(RingConfirm::Over { .. }),
            ) => return None,
            (Plant::TalksOn, Word::End(_)) => return None,
            (Plant::DeafToGlare, Word::Invite(_)) if is_calling => return None,
            (_, word) => word,
        };
        Some(CallMessage { call_id, word })
    }

    /// What a device manages to say.
    pub(crate) fn says(self, message: &CallMessage) -> bool {
        self != Plant::NoSignOfLife || !matches!(message.word, Word::KeepAlive(_))
    }
}
