//! Two users call each other through the app's own chat: `cargo run -p callkit --example chat`.
//!
//! The chat carries the words of the call ([`carrier`]); the voice goes from device to device. The channel and its tokens come from a
//! `callkitd --dev`, at `http://127.0.0.1:7450` or the address given.

mod carrier;

use std::time::Duration;

use callkit::{AudioInput, CallKit, CallKitEvent, CallType, DevBackend, DeviceId, Ext, Interfaces, Recording, UserId};
use carrier::ChatRoom;
use futures_util::StreamExt;

type Failure = Box<dyn std::error::Error>;

/// How long they talk.
const TALK: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7450".to_owned());
    let chat = ChatRoom::default();
    let (alice, alice_hears) = sign_in(&server, &chat, "alice", 440.0).await?;
    let (bob, bob_hears) = sign_in(&server, &chat, "bob", 660.0).await?;

    // Bob answers whoever calls.
    let mut bobs_events = bob.events();
    let answering = bob.clone();
    let bobs_side = tokio::spawn(async move {
        while let Some(event) = bobs_events.next().await {
            println!("bob    {}", told(&event));
            if let CallKitEvent::ReceiveCall { call_id, .. } = event
                && let Err(error) = answering.answer(call_id).await
            {
                println!("bob    cannot answer: {error}");
            }
            if let CallKitEvent::CallEnd { .. } = event {
                return;
            }
        }
    });

    // Alice calls, and hangs up when she has listened for a while.
    let mut alices_events = alice.events();
    let call_id = alice.start_single_call("bob", CallType::Audio1v1, Ext::new()).await?;
    while let Some(event) = alices_events.next().await {
        println!("alice  {}", told(&event));
        match event {
            CallKitEvent::FirstAudio { .. } => {
                let hanging_up = alice.clone();
                tokio::spawn(async move {
                    // sleeps: the two talk for a moment.
                    tokio::time::sleep(TALK).await;
                    hanging_up.hangup(call_id).await
                });
            }
            CallKitEvent::CallEnd { .. } => break,
            _ => {}
        }
    }
    bobs_side.await?;
    for (name, kit, heard) in [("alice", &alice, &alice_hears), ("bob", &bob, &bob_hears)] {
        kit.sign_out().await;
        println!("{name} heard {:.1} s of sound, loudest {:.2}", seconds(heard), loudest(heard));
    }
    Ok(())
}

/// A user whose voice is a tone, and what this user hears.
async fn sign_in(server: &str, chat: &ChatRoom, name: &str, hz: f32) -> Result<(CallKit, Recording), Failure> {
    let backend = DevBackend::sign_in(server, name, "a password").await?;
    let heard = Recording::new();
    let kit = CallKit::builder("demo")
        .server(server)
        .device("desk")
        .chat(chat.enter(UserId::new(name)?, DeviceId::new("desk")?))
        .interfaces(Interfaces::Loopback)
        .audio_input(AudioInput::Tone { hz, amplitude: 0.3 })
        .audio_output(heard.output())
        .sign_in(name, backend.access_token())
        .await?;
    backend.supply(&kit);
    kit.init_rtc().await?;
    Ok((kit, heard))
}

/// An event as one line.
fn told(event: &CallKitEvent) -> String {
    match event {
        CallKitEvent::ReceiveCall { user, .. } => format!("{user} calls"),
        CallKitEvent::CallEnd { reason, .. } => format!("call_end: {reason}"),
        CallKitEvent::Error { error, .. } => format!("error: {error}"),
        other => other.name().to_owned(),
    }
}

fn seconds(heard: &Recording) -> f32 {
    heard.len() as f32 / 48_000.0
}

fn loudest(heard: &Recording) -> f32 {
    heard.samples().iter().fold(0.0, |loudest, sample| sample.abs().max(loudest))
}
