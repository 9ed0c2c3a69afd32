//! Whether what was heard is what was said, and whether everything that should have happened did.

use std::ops::Range;
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
/// What a codec smears over the edge of a mute, and what a receiver plays on when nothing more comes, in samples (150 ms).
const EDGE: usize = 7_200;
/// What is compared to find the edges of a mute in what was heard, in samples (2 s).
const BESIDE: usize = 96_000;
/// How much the delay may have changed since the call began, in samples (1 s).
const DRIFT: usize = 48_000;

/// What was said and heard, each with the wall time in µs of its first sample.
pub(crate) struct Recordings {
    /// By Alice; nobody knows what a microphone will hear.
    pub(crate) alice_said: Option<Track>,
    pub(crate) bob_said: Track,
    pub(crate) bob_heard: Track,
    pub(crate) alice_heard: Option<Track>,
}

/// Sound, 48 kHz mono, from a moment of wall time on (for the picture).
pub(crate) struct Track {
    pub(crate) start_us: u64,
    pub(crate) samples: Vec<f32>,
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
    let judge = |what: &str, said: &Track, heard: &[f32]| {
        let score = score::score(&said.samples, heard);
        let good = score.similarity >= SIMILAR;
        println!("{} {what}: similarity {:.2}", if good { "✓" } else { "✗" }, score.similarity);
        (!good).then(|| format!("{what} is not what was said"))
    };
    let heard = &recordings.bob_heard.samples;
    let muted = recordings.alice_said.as_ref().map(|said| (said, muted_part(story, &said.samples, heard)));
    match muted {
        // Nobody knows what a microphone has heard.
        None => {}
        Some((_, None)) => wrong.push("where the mute lies in what bob heard could not be found".into()),
        Some((said, Some(part))) => {
            wrong.extend(judge("what bob heard before the mute", said, &heard[..part.start]));
            wrong.extend(judge("what bob heard after it", said, &heard[part.end..]));
            let quiet = &heard[part.start + EDGE..part.end - EDGE];
            let level = sound::level_db(quiet);
            let good = level < SILENT_DB;
            println!("{} while alice was muted: {level:.0} dB", if good { "✓" } else { "✗" });
            if !good {
                wrong.push("the mute let sound through".into());
            }
        }
    }
    if let Some(heard) = &recordings.alice_heard {
        wrong.extend(judge("what alice heard", &recordings.bob_said, &heard.samples));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Where in what was heard nothing may be, by the speaker's own account of how much it had said when it muted and unmuted. The clock says nothing of
/// that: on a busy machine sound waits anywhere.
fn muted_part(story: &Story, said: &[f32], heard: &[f32]) -> Option<Range<usize>> {
    let spoken = |event| story.alice.iter().find(|line| line["event"] == event)?["spoken"].as_u64().map(|n| n as usize);
    let (mute, unmute) = (spoken("muted")?, spoken("unmuting")?);
    let about = delay(said, heard, 0..said.len())?;
    let before = mute.checked_sub(BESIDE)?..mute;
    let after = unmute..(unmute + BESIDE).min(said.len());
    let near = |part: Range<usize>| {
        let window = |at: usize, drift: isize| at.saturating_add_signed(about + drift).min(heard.len());
        let window = window(part.start, -(DRIFT as isize))..window(part.end, DRIFT as isize);
        Some(delay(said, heard.get(window.clone())?, part)? + window.start as isize)
    };
    let (mute, unmute) = (mute.checked_add_signed(near(before)?)?, unmute.checked_add_signed(near(after)?)?);
    (mute + 4 * EDGE < unmute && unmute <= heard.len()).then_some(mute..unmute)
}

/// How many samples later `part` of what was said is in what was heard.
fn delay(said: &[f32], heard: &[f32], part: Range<usize>) -> Option<isize> {
    let score = score::score(said.get(part.clone())?, heard);
    (score.found > 0.5).then_some((f64::from(score.delay_ms) / 1e3 * RATE) as isize - part.start as isize)
}
