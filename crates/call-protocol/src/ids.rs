//! Who and what: users, devices, apps, calls, channels.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text has more bytes than the limit that goes with it.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The text has a control character.
    #[error("it contains a control character")]
    ControlCharacter,
    /// The text is not 32 hexadecimal digits (call ids only).
    #[error("it is not 32 hexadecimal digits")]
    NotHexadecimal,
    /// Zero is not an RTC uid.
    #[error("zero is not a uid")]
    Zero,
}

fn checked(text: &str, limit: usize) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > limit {
        Err(IdError::TooLong { limit })
    } else if text.chars().any(char::is_control) {
        Err(IdError::ControlCharacter)
    } else {
        Ok(())
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes it an id: not empty, no control characters, not over the limit of [`crate::limits`].
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                checked(text.as_ref(), $limit)?;
                Ok(Self(text.as_ref().into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }
    };
}

text_id!(
    /// A user of the app, as the app's own backend names it.
    UserId,
    limits::USER_ID_BYTES
);
text_id!(
    /// One installation of the app that a user signed in on; unique among the devices of that user.
    DeviceId,
    limits::DEVICE_ID_BYTES
);
text_id!(
    /// The app, as the server's configuration names it.
    AppId,
    limits::APP_ID_BYTES
);
text_id!(
    /// Where the media of a call meets.
    ChannelId,
    limits::CHANNEL_ID_BYTES
);

/// One call, from invite to end: 128 random bits, shown as 32 hexadecimal digits.
///
/// The order of two ids decides glare: the smaller one wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallId(u128);

impl CallId {
    /// The id with these 128 bits; they are to be random.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The channel in which this call's media meets.
    pub fn channel(self) -> ChannelId {
        ChannelId(self.to_string().into())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CallId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError::NotHexadecimal);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| IdError::NotHexadecimal)
    }
}

impl TryFrom<String> for CallId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<CallId> for String {
    fn from(id: CallId) -> String {
        id.to_string()
    }
}

/// A member of a channel: the number under which media is sent there; never zero. Not a user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Uid(u32);

impl Uid {
    /// The uid with this number.
    pub const fn new(number: u32) -> Result<Self, IdError> {
        if number == 0 { Err(IdError::Zero) } else { Ok(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<u32> for Uid {
    type Error = IdError;
    fn try_from(number: u32) -> Result<Self, IdError> {
        Self::new(number)
    }
}

impl From<Uid> for u32 {
    fn from(uid: Uid) -> u32 {
        uid.0
    }
}

/// One signed-in device of one user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Party {
    /// The user.
    pub user: UserId,
    /// The user's device.
    pub device: DeviceId,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_is_not_an_id() {
        assert_eq!(UserId::new(""), Err(IdError::Empty));
        assert_eq!(UserId::new("a\nb"), Err(IdError::ControlCharacter));
        assert_eq!(UserId::new("x".repeat(129)), Err(IdError::TooLong { limit: 128 }));
        assert_eq!(UserId::new("José 🎧").unwrap().as_str(), "José 🎧");
        assert_eq!(Uid::new(0), Err(IdError::Zero));
    }

    #[test]
    fn call_ids_are_32_hexadecimal_digits_both_ways() {
        let id = CallId::from_bits(0xabc);
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("abc".parse::<CallId>(), Err(IdError::NotHexadecimal));
        assert_eq!("+0000000000000000000000000000abc".parse::<CallId>(), Err(IdError::NotHexadecimal));
        assert_eq!(id.channel().as_str(), id.to_string());
    }
}
