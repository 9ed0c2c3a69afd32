//! What the app supplies: tokens, and who is behind a uid.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use call_protocol::{ChannelId, Uid};
use callkit_core::{RtcToken, RtcTokenRequest, UserMapper};
use tokio::time::timeout;

/// An app's handler failed; the text is shown to the developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandlerError(pub String);

impl From<String> for HandlerError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for HandlerError {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Supplies channel tokens. Every `async fn(RtcTokenRequest) -> Result<RtcToken, HandlerError>` is one.
#[async_trait]
pub trait RtcTokenHandler: Send + Sync {
    /// A token for this request, from the app's own backend. Called as a call begins or rings, and again before the token expires.
    async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError>;
}

#[async_trait]
impl<F, R> RtcTokenHandler for F
where
    F: Fn(RtcTokenRequest) -> R + Send + Sync,
    R: Future<Output = Result<RtcToken, HandlerError>> + Send,
{
    async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError> {
        self(request).await
    }
}

/// Supplies access tokens. Every `async fn() -> Result<String, HandlerError>` is one.
#[async_trait]
pub trait AccessTokenHandler: Send + Sync {
    /// A new access token of the signed-in user, from the app's own backend. Called before the present one ends, and when the server says
    /// that it has.
    async fn access_token(&self) -> Result<String, HandlerError>;
}

#[async_trait]
impl<F, R> AccessTokenHandler for F
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = Result<String, HandlerError>> + Send,
{
    async fn access_token(&self) -> Result<String, HandlerError> {
        self().await
    }
}

/// Tells who is behind a uid. Every `async fn(ChannelId, Uid) -> Result<UserMapper, HandlerError>` is one.
#[async_trait]
pub trait UserMapperHandler: Send + Sync {
    /// The user behind this uid, and others if known: for those it is not asked any more. Asked once for each unknown uid.
    async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError>;
}

#[async_trait]
impl<F, R> UserMapperHandler for F
where
    F: Fn(ChannelId, Uid) -> R + Send + Sync,
    R: Future<Output = Result<UserMapper, HandlerError>> + Send,
{
    async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError> {
        self(channel, uid).await
    }
}

/// How long an answer of the app's handlers is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of a handler, which runs on a task of its own: one that panics, blocks or never answers has failed, and nothing more.
pub(crate) async fn answered<T: Send + 'static>(
    answer: impl Future<Output = Result<T, HandlerError>> + Send + 'static,
) -> Result<T, String> {
    let mut task = tokio::spawn(answer);
    match timeout(PATIENCE, &mut task).await {
        Ok(Ok(answer)) => answer.map_err(|error| error.0),
        Ok(Err(_)) => Err("the handler panicked".into()),
        Err(_) => {
            task.abort();
            Err("the handler did not answer within 10 s".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_fails_panics_or_never_answers_has_failed() {
        assert_eq!(answered(async { Ok(1) }).await, Ok(1));
        assert_eq!(answered::<()>(async { Err("no".into()) }).await, Err("no".into()));
        assert_eq!(answered::<()>(async { panic!("an app's handler") }).await, Err("the handler panicked".into()));
        let never = answered::<()>(std::future::pending()).await;
        assert_eq!(never, Err("the handler did not answer within 10 s".into()));
    }
}
