//! Waits for a call, takes it, and says what happened.

use callkit::{AudioInput, AudioOutput, CallKit, CallKitEvent, DevBackend};
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or("http://127.0.0.1:7450".into());
    // The reference backend of `callkitd --dev`; a real app asks its own backend for the tokens.
    let backend = DevBackend::sign_in(&server, "bob", "a password").await?;
    let kit = CallKit::builder("demo")
        .server(&server)
        .audio_input(AudioInput::Speech { looped: true }) // leave these two out to use the microphone
        .audio_output(AudioOutput::Null) // and the loudspeaker
        .sign_in("bob", backend.access_token())
        .await?;
    backend.supply(&kit);
    kit.init_rtc().await?;
    let mut events = kit.events();
    println!("bob waits for a call");
    while let Some(event) = events.next().await {
        match event {
            CallKitEvent::ReceiveCall { call_id, user, .. } => {
                println!("{user} calls");
                kit.answer(call_id).await?;
            }
            CallKitEvent::FirstAudio { .. } => println!("they talk"),
            CallKitEvent::CallEnd { reason, .. } => {
                println!("over: {reason}");
                break;
            }
            _ => {}
        }
    }
    kit.sign_out().await;
    Ok(())
}
