//! The checks of what phones bring back: tokens, and the parameters of pushes.

use call_protocol::{CcParam, ChannelId, Uid, UserId};

use crate::cc_keys::{CcKeys, KeyError};
use crate::config::{AppConfig, Secret};
use crate::token::Apps;

/// What a server with these apps and secrets believes.
pub struct Checks {
    apps: Apps,
    keys: CcKeys,
}

impl Checks {
    /// Tokens end when their time is over, without a leeway.
    pub fn new(apps: &[AppConfig], secrets: &[Secret]) -> Result<Self, KeyError> {
        Ok(Self { apps: Apps::new(apps, 0), keys: CcKeys::open(secrets, None)? })
    }

    /// Who an access token signs in.
    pub fn access(&self, app: &str, token: &str) -> Option<UserId> {
        self.apps.check_access(self.apps.find(app)?, token).ok()
    }

    /// Who may join the channel with a token.
    pub fn channel(&self, app: &str, channel: &ChannelId, token: &str) -> Option<Uid> {
        self.apps.check_channel(self.apps.find(app)?, channel, token).ok().map(|grant| grant.uid)
    }

    /// The parameter of a push.
    pub fn seal(&self, param: &CcParam) -> String {
        param.seal(|payload| self.keys.sign(&param.app_id, payload))
    }

    /// What a genuine parameter says.
    pub fn cc_param(&self, text: &str) -> Option<CcParam> {
        let (param, sealed) = CcParam::open(text)?;
        self.keys.verify(&param.app_id, sealed.key_number, &sealed.payload, &sealed.mac).then_some(param)
    }
}
