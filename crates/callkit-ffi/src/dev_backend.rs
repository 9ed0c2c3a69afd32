//! A client of the reference app backend that `callkitd --dev` serves. A real app talks to its own backend instead.

use callkit::{ChannelId, RtcToken, RtcTokenRequest, Uid};

use crate::handlers::{HandlerError, UserMapper};
use crate::kit::CallKit;

/// One user's view of the reference app backend.
#[derive(uniffi::Object)]
pub struct DevBackend(callkit::DevBackend);

/// Why the reference app backend did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum DevBackendError {
    /// It cannot be reached.
    #[error("the app backend cannot be reached: {detail}")]
    Unreachable {
        /// For the developer.
        detail: String,
    },
    /// It said no, and why.
    #[error("the app backend refused: {detail}")]
    Refused {
        /// For the developer.
        detail: String,
    },
    /// Its reply is not what was asked for.
    #[error("the app backend's reply was not understood")]
    NotUnderstood,
}

impl From<callkit::DevBackendError> for DevBackendError {
    fn from(error: callkit::DevBackendError) -> DevBackendError {
        match error {
            callkit::DevBackendError::Unreachable(detail) => DevBackendError::Unreachable { detail },
            callkit::DevBackendError::Refused(detail) => DevBackendError::Refused { detail },
            callkit::DevBackendError::NotUnderstood => DevBackendError::NotUnderstood,
            // One that is younger than this twin.
            other => DevBackendError::Refused { detail: other.to_string() },
        }
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl DevBackend {
    /// Registers the user unless that was done before, and fetches an access token.
    #[uniffi::constructor]
    pub async fn sign_in(url: String, user: String, password: String) -> Result<DevBackend, DevBackendError> {
        Ok(DevBackend(callkit::DevBackend::sign_in(url, &user, &password).await?))
    }

    /// The user's access token, for signing in.
    pub fn access_token(&self) -> String {
        self.0.access_token()
    }

    /// Fetches a new access token, for an [`crate::AccessTokenHandler`].
    pub async fn renew_access_token(&self) -> Result<String, DevBackendError> {
        Ok(self.0.renew_access_token().await?)
    }

    /// A channel token, for an [`crate::RtcTokenHandler`].
    pub async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError> {
        Ok(self.0.rtc_token(request).await?)
    }

    /// What a push would have brought this user: of the call that rings for it, or nothing if none does.
    pub async fn cc_param(&self) -> Result<Option<String>, DevBackendError> {
        Ok(self.0.cc_param().await?)
    }

    /// The user behind a uid, for a [`crate::UserMapperHandler`].
    pub async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError> {
        Ok(self.0.map_user(channel, uid).await?.into())
    }

    /// Sets all handlers of a kit to this backend.
    pub fn supply(&self, kit: &CallKit) {
        self.0.supply(&kit.0);
    }
}
