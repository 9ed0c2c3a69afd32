//! Whether what was heard is what was said, and whether everything that should have happened did.

use std::path::Path;

use rtc_media::score;
use serde_json::Value;
use tests::processes::sound;

use crate::{Story, first};

const RATE: f64 = 48_000.0;
/// A part of a call is heard rightly if it is at least this similar to what was said. A clean call reaches 0.9.
const SIMILAR: f32 = 0.75;
/// What comes through a muted microphone, in dB below full scale, at most.
const SILENT_DB: f32 = -60.0;
/// What path and jitter buffer may hold when a mute begins or ends, in s.
const SETTLE_S: f64 = 0.4;

/// What was said and heard, each with the wall time in µs of its first sample.
pub(crate) struct Recordings {
    /// By Alice; nobody knows what a microphone will hear.
    pub(crate) alice_said: Option<Track>,
    pub(crate) bob_said: Track,
    pub(crate) bob_heard: Track,
    pub(crate) alice_heard: Option<Track>,
}

/// Sound, 48 kHz mono, from a moment on.
pub(crate) struct Track {
    pub(crate) start_us: u64,
    pub(crate) samples: Vec<f32>,
}

impl Track {
    fn from(&self, us: u64, settle_s: f64) -> usize {
        let s = (us as f64 - self.start_us as f64) / 1e6 + settle_s;
        ((s * RATE).max(0.0) as usize).min(self.samples.len())
    }
}

impl Recordings {
    /// `speech` is what Alice said: a file, or the bundled speech; `None` if it came from a microphone.
    pub(crate) fn read(
        story: &Story,
        speech: Option<Option<&Path>>,
        alice_heard: &Path,
        bob_heard: &Path,
    ) -> Result<Recordings, String> {
        let start = |said: &[Value], event| first(said, event).ok_or(format!("{event} is missing"));
        let bob_heard = Track { start_us: start(&story.bob, "first_played")?, samples: sound::read_wav(bob_heard)? };
        let len = bob_heard.samples.len();
        let alice_said = match speech {
            None => None,
            Some(file) => {
                let input = match file {
                    Some(path) => rtc_media::AudioInput::Wav { path: path.to_owned(), looped: true },
                    None => sound::speech(),
                };
                Some(Track { start_us: start(&story.alice, "first_spoken")?, samples: sound::take(&input, len)? })
            }
        };
        let bob_said =
            Track { start_us: start(&story.bob, "first_spoken")?, samples: sound::take(&sound::reply()?, len)? };
        let alice_heard = match speech {
            None => None,
            Some(_) => {
                let start_us = start(&story.alice, "first_played")?;
                Some(Track { start_us, samples: sound::read_wav(alice_heard)? })
            }
        };
        Ok(Recordings { alice_said, bob_said, bob_heard, alice_heard })
    }
}

/// What each phone must have told, in this order.
const ALICE: [&str; 7] = ["calling", "ringing", "answer", "joined_channel", "user_joined", "first_audio", "call_end"];
const BOB: [&str; 8] = [
    "receive_call",
    "answering",
    "answer",
    "joined_channel",
    "user_joined",
    "first_audio",
    "user_mute_audio",
    "call_end",
];

/// Fails if an event is missing or what was heard is not what was said; prints what was found.
pub(crate) fn verdict(story: &Story, recordings: &Recordings) -> Result<(), String> {
    println!();
    let mut wrong = Vec::new();
    for (who, said, wanted) in [("alice", &story.alice, &ALICE[..]), ("bob", &story.bob, &BOB[..])] {
        wrong.extend(
            wanted.iter().filter(|event| first(said, event).is_none()).map(|event| format!("{who}: no {event}")),
        );
        wrong.extend(
            said.iter().filter(|line| line["event"] == "error").map(|line| format!("{who}: {}", line["detail"])),
        );
    }
    let mut judge = |what: &str, said: &Track, heard: &[f32]| {
        let score = score::score(&said.samples, heard);
        let good = score.similarity >= SIMILAR;
        println!("{} {what}: similarity {:.2}", if good { "✓" } else { "✗" }, score.similarity);
        if !good {
            wrong.push(format!("{what} is not what was said"));
        }
    };
    let heard = &recordings.bob_heard;
    let (mute, unmute) = (heard.from(story.mute_us, SETTLE_S), heard.from(story.unmute_us, 0.0));
    if let Some(said) = &recordings.alice_said {
        judge("what bob heard before the mute", said, &heard.samples[..heard.from(story.mute_us, 0.0)]);
        judge("what bob heard after it", said, &heard.samples[heard.from(story.unmute_us, SETTLE_S)..]);
    }
    if let Some(heard) = &recordings.alice_heard {
        judge("what alice heard", &recordings.bob_said, &heard.samples);
    }
    let level = sound::level_db(&heard.samples[mute.min(unmute)..unmute]);
    println!("{} while alice was muted: {level:.0} dB", if level < SILENT_DB { "✓" } else { "✗" });
    if level >= SILENT_DB {
        wrong.push("the mute let sound through".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}
