//! What an app asks outside of any call: where pushes reach its device, and which calls there were.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use call_protocol::account::{Credentials, HistoryPage, HistoryRequest, PushAddress, SetPush};
use call_protocol::{DeviceId, wire};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::dial::Dial;
use crate::kit::CallKit;
use crate::wire::AccountClient;

/// How long one request may take, the connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request outside of a call failed. Nothing was changed, unless the server could not be reached: then it may have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// What was asked for makes no sense; the text says what.
    #[error("invalid parameter: {0}")]
    InvalidParam(String),
    /// The access token is not good, or no longer; see [`CallKit::renew_access_token`].
    #[error("the access token was refused")]
    TokenRefused,
    /// Too many requests; later is better.
    #[error("too many requests")]
    TooMany,
    /// The server cannot be reached, or did not understand; the text says why.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
}

impl From<Status> for AccountError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument => AccountError::InvalidParam(status.message().to_owned()),
            Code::Unauthenticated => AccountError::TokenRefused,
            Code::ResourceExhausted => AccountError::TooMany,
            _ => AccountError::Unreachable(status.message().to_owned()),
        }
    }
}

/// By what a kit asks.
pub(crate) struct Account {
    endpoint: Endpoint,
    app_id: String,
    user: String,
    device: DeviceId,
    access_token: Mutex<String>,
}

impl Account {
    pub(crate) fn new(
        endpoint: Endpoint,
        app_id: String,
        user: String,
        device: DeviceId,
        access_token: String,
    ) -> Account {
        Account { endpoint, app_id, user, device, access_token: Mutex::new(access_token) }
    }

    pub(crate) fn renew(&self, access_token: String) {
        *self.access_token.lock().unwrap_or_else(PoisonError::into_inner) = access_token;
    }

    fn access_token(&self) -> String {
        self.access_token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn credentials(&self) -> Credentials {
        Credentials { app_id: self.app_id.clone(), access_token: self.access_token(), user: self.user.clone() }
    }

    /// A connection of its own: these requests are rare, and are not to wait behind a call's words.
    async fn asks<T>(
        &self,
        request: impl AsyncFnOnce(AccountClient<Channel>) -> Result<T, Status>,
    ) -> Result<T, AccountError> {
        let exchange = async {
            let channel = self.endpoint.connect_with_connector(Dial::default()).await;
            let channel = channel.map_err(|error| AccountError::Unreachable(crate::link::innermost(&error)))?;
            Ok(request(AccountClient::new(channel)).await?)
        };
        let late = |_| AccountError::Unreachable("no answer within 5 s".into());
        timeout(PATIENCE, exchange).await.map_err(late)?
    }
}

/// Outside of calls.
impl CallKit {
    /// Has the server push calls for this device there while it is not connected; `None` ends that. It stays so until it is changed, or the
    /// push service says that the address is no more. The device is the one of [`Builder::device`](crate::Builder::device).
    ///
    /// # Cancel safety
    /// A future that is dropped may have been carried out or not; asking again does no harm.
    pub async fn set_push_address(&self, address: Option<PushAddress>) -> Result<(), AccountError> {
        let account = &self.account;
        let request = SetPush { credentials: account.credentials(), device: account.device.clone(), address };
        let request = wire::set_push_to_proto(&request);
        account.asks(async |mut client| client.set_push(request).await.map(drop)).await
    }

    /// The user's calls that are over, newest first, on whichever device they were: at most `limit` (1 to 100), from `cursor` on, which is
    /// that of the page before, or empty. An empty cursor in the page says that there are no more.
    pub async fn history(&self, cursor: &str, limit: u32, missed_only: bool) -> Result<HistoryPage, AccountError> {
        let credentials = self.account.credentials();
        let request = HistoryRequest { credentials, cursor: cursor.to_owned(), limit, missed_only };
        let request = wire::history_request_to_proto(&request);
        let page = self.account.asks(async |mut client| client.history(request).await).await?.into_inner();
        wire::history_page_from_proto(page).map_err(|error| AccountError::Unreachable(error.to_string()))
    }
}
