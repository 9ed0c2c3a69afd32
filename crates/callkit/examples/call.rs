//! Calls bob, talks for three seconds, and says what happened.

use callkit::{AudioInput, AudioOutput, CallError, CallKit, CallKitEvent, CallType, DevBackend, EndReason, Ext};
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or("http://127.0.0.1:7450".into());
    let backend = DevBackend::sign_in(&server, "alice", "a password").await?;
    let kit = CallKit::builder("demo")
        .server(&server)
        .audio_input(AudioInput::Speech { looped: true })
        .audio_output(AudioOutput::Null)
        .sign_in("alice", backend.access_token())
        .await?;
    backend.supply(&kit);
    kit.init_rtc().await?;
    let mut events = kit.events();
    let call_id = kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await?;
    while let Some(event) = events.next().await {
        match event {
            CallKitEvent::Ringing { user, .. } => println!("it rings at {user}"),
            CallKitEvent::FirstAudio { .. } => {
                println!("they talk");
                // sleeps: they talk for a while
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                kit.hangup(call_id).await?;
            }
            CallKitEvent::CallEnd { reason: EndReason::Hangup, .. } => break,
            CallKitEvent::CallEnd { reason, .. } => return Err(format!("the call ended: {reason}").into()),
            CallKitEvent::Error { error: CallError::UnknownUser, .. } => {
                return Err("nobody is called bob: `answer` has to run first".into());
            }
            CallKitEvent::Error { error, .. } => println!("error: {error}"),
            _ => {}
        }
    }
    kit.sign_out().await;
    println!("over");
    Ok(())
}
