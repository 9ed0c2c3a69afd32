//! The desired audio state: which path has the sound, what is sent on it, what is played of it, and which devices are open. A pure function of
//! what is known of the calls, worked out anew after every input; where it is not known whose the sound is, nothing is sent and nothing is heard.

use call_protocol::CallId;

use crate::ids::PathId;

/// How far a call is, as its sound sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody has taken it yet.
    Ringing,
    /// The user here has taken it and the arbiter is being asked, or it is not known which device at the other end has it: devices may be opened
    /// ahead, and nothing flows.
    Answering,
    /// One device at the other end has it. `path` is the number of the path to it, once that is open.
    Taken { path: Option<PathId> },
}

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallFacts {
    pub(crate) call_id: CallId,
    pub(crate) stage: Stage,
    /// This side holds it.
    pub(crate) held: bool,
    /// The other side holds it.
    pub(crate) peer_held: bool,
    /// Its callee prepares itself.
    pub(crate) preparing: bool,
    /// The microphone is muted for it.
    pub(crate) muted: bool,
    /// The other side is not played.
    pub(crate) silenced: bool,
}

/// What is known of the kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KitFacts {
    /// Devices may be opened.
    pub(crate) may_open_devices: bool,
    /// The other side is played.
    pub(crate) speaker: bool,
    /// A tone is played.
    pub(crate) plays_tone: bool,
}

/// What is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sends {
    /// Nothing at all.
    #[default]
    Nothing,
    /// Coded silence, so that the other side hears a pause and not a loss.
    Silence,
    /// What the microphone gives.
    Microphone,
}

/// What becomes of what comes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hears {
    /// It is dropped, and nothing is awaited.
    #[default]
    Nothing,
    /// It is decoded and measured, and not played.
    Unplayed,
    /// It is played.
    Played,
}

/// The path that has the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPath {
    /// Its call.
    pub call_id: CallId,
    /// The path.
    pub path: PathId,
}

/// How the sound is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioState {
    /// Whose the sound is.
    pub open: Option<OpenPath>,
    /// What is sent on that path.
    pub sends: Sends,
    /// What becomes of what comes over it.
    pub hears: Hears,
    /// Whether the microphone is open.
    pub microphone: bool,
    /// Whether the loudspeaker is open. While it is not, what comes in is decoded and dropped.
    pub loudspeaker: bool,
}

impl CallFacts {
    fn is_taken(&self) -> bool {
        matches!(self.stage, Stage::Taken { .. })
    }

    /// Whether it is a call that has the sound.
    pub(crate) fn is_talking(&self) -> bool {
        self.is_taken() && !self.held && !self.preparing
    }

    fn is_answering(&self) -> bool {
        self.stage == Stage::Answering && !self.preparing
    }
}

/// The desired audio state.
pub(crate) fn audio_state(kit: KitFacts, calls: &[CallFacts]) -> AudioState {
    let has_devices = |call: &CallFacts| call.is_answering() || (call.is_taken() && !call.preparing);
    let talking = the_one_that_talks(calls);
    let loudspeaker = kit.may_open_devices && (kit.plays_tone || calls.iter().any(has_devices));
    // On hold the microphone is let go of: whoever looks at its lamp sees that nobody listens.
    let microphone = kit.may_open_devices && (talking.is_some() || calls.iter().any(CallFacts::is_answering));
    let devices = AudioState { microphone, loudspeaker, ..AudioState::default() };
    let Some((call, Stage::Taken { path: Some(path) })) = talking.map(|call| (call, call.stage)) else {
        return devices;
    };
    let (sends, hears) = match call {
        CallFacts { peer_held: true, .. } => (Sends::Nothing, Hears::Nothing),
        CallFacts { muted, silenced, .. } => (
            if *muted { Sends::Silence } else { Sends::Microphone },
            if *silenced || !kit.speaker { Hears::Unplayed } else { Hears::Played },
        ),
    };
    AudioState { open: Some(OpenPath { call_id: call.call_id, path }), sends, hears, ..devices }
}

/// The rules of a call leave one at most; if there were two, nobody would know whose mute counts.
fn the_one_that_talks(calls: &[CallFacts]) -> Option<&CallFacts> {
    let mut talking = calls.iter().filter(|call| call.is_talking());
    talking.next().filter(|_| talking.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: PathId = PathId(7);
    const TALKS: CallFacts = CallFacts {
        call_id: CallId::from_bits(5),
        stage: Stage::Taken { path: Some(PATH) },
        held: false,
        peer_held: false,
        preparing: false,
        muted: false,
        silenced: false,
    };
    const KIT: KitFacts = KitFacts { may_open_devices: true, speaker: true, plays_tone: false };

    /// Every state that a call can be in.
    fn all_calls(call_id: u128) -> Vec<CallFacts> {
        let stages = [
            Stage::Ringing,
            Stage::Answering,
            Stage::Taken { path: None },
            Stage::Taken { path: Some(PathId(call_id as u64)) },
        ];
        let mut calls = Vec::new();
        for stage in stages {
            for bits in 0..32_u8 {
                let is = |bit: u8| bits >> bit & 1 == 1;
                calls.push(CallFacts {
                    call_id: CallId::from_bits(call_id),
                    stage,
                    held: is(0),
                    peer_held: is(1),
                    preparing: is(2),
                    muted: is(3),
                    silenced: is(4),
                });
            }
        }
        calls
    }

    fn all_kits() -> Vec<KitFacts> {
        let is = |bits: u8, bit: u8| bits >> bit & 1 == 1;
        let kit = |bits| KitFacts { may_open_devices: is(bits, 0), speaker: is(bits, 1), plays_tone: is(bits, 2) };
        (0..8).map(kit).collect()
    }

    #[test]
    fn the_whole_table_of_one_call() {
        for kit in all_kits() {
            for call in all_calls(5) {
                let state = audio_state(kit, &[call]);
                let taken = matches!(call.stage, Stage::Taken { .. });
                let has_path = call.stage == Stage::Taken { path: Some(PathId(5)) };
                let answering = call.stage == Stage::Answering;
                let (quiet, unprepared) = (call.held || call.preparing, !call.preparing);
                let what = format!("{kit:?} {call:?}: {state:?}");
                let open = has_path && !quiet;
                assert_eq!(state.open, open.then_some(OpenPath { call_id: call.call_id, path: PathId(5) }), "{what}");
                let flows = open && !call.peer_held;
                let sends = match (flows, call.muted) {
                    (false, _) => Sends::Nothing,
                    (true, true) => Sends::Silence,
                    (true, false) => Sends::Microphone,
                };
                let hears = match (flows, kit.speaker && !call.silenced) {
                    (false, _) => Hears::Nothing,
                    (true, false) => Hears::Unplayed,
                    (true, true) => Hears::Played,
                };
                assert_eq!((state.sends, state.hears), (sends, hears), "{what}");
                let microphone = (taken && !call.held || answering) && unprepared;
                let loudspeaker = (taken || answering) && unprepared || kit.plays_tone;
                let may = kit.may_open_devices;
                assert_eq!((state.microphone, state.loudspeaker), (may && microphone, may && loudspeaker), "{what}");
            }
        }
    }

    #[test]
    fn of_two_calls_the_one_that_talks_has_its_own_mute_whichever_is_first() {
        for one in all_calls(5) {
            for other in all_calls(9) {
                let state = audio_state(KIT, &[one, other]);
                assert_eq!(state, audio_state(KIT, &[other, one]), "the order means nothing: {one:?} {other:?}");
                if one.is_talking() && other.is_talking() {
                    let closed = (None, Sends::Nothing, Hears::Nothing);
                    assert_eq!((state.open, state.sends, state.hears), closed, "whose it is nobody knows");
                    assert!(!state.microphone);
                    continue;
                }
                for (talks, quiet) in [(one, other), (other, one)] {
                    if talks.is_talking() {
                        let alone = audio_state(KIT, &[talks]);
                        assert_eq!((state.open, state.sends, state.hears), (alone.open, alone.sends, alone.hears));
                        assert!(state.open.is_none_or(|open| open.call_id != quiet.call_id));
                    }
                }
            }
        }
    }

    #[test]
    fn a_muted_call_sends_its_microphone_in_no_state() {
        for kit in all_kits() {
            for call in all_calls(5).into_iter().filter(|call| call.muted) {
                assert_ne!(audio_state(kit, &[call]).sends, Sends::Microphone, "{kit:?} {call:?}");
                for other in all_calls(9) {
                    let state = audio_state(kit, &[call, other]);
                    let is_other = state.open.is_some_and(|open| open.call_id == other.call_id);
                    assert!(state.sends != Sends::Microphone || is_other, "{kit:?} {call:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn without_a_call_there_is_nothing_but_tones() {
        assert_eq!(audio_state(KIT, &[]), AudioState::default());
        let tone = audio_state(KitFacts { plays_tone: true, ..KIT }, &[]);
        assert_eq!(tone, AudioState { loudspeaker: true, ..AudioState::default() });
        assert_eq!(audio_state(KIT, &[TALKS]).open, Some(OpenPath { call_id: TALKS.call_id, path: PATH }));
    }
}
