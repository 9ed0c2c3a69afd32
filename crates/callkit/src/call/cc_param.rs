//! What a push tells of a call.

use std::ops::Deref;

/// The parameter of an incoming call, as a push brings it: bound to one user and one call, signed by the server, worthless after the ring's
/// deadline. The server checks the signature whenever it is used; what is in it can be read by its bearer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CcParam {
    read: call_protocol::CcParam,
    text: String,
}

impl CcParam {
    /// Reads a text; `None` if it is not one, as when it was cut or comes from elsewhere.
    pub fn parse(text: &str) -> Option<CcParam> {
        let read = call_protocol::CcParam::parse(text)?;
        Some(CcParam { read, text: text.to_owned() })
    }

    /// The text that it was read from. Whoever has it can decline the call, and take it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What is in it: app, call, who is called, who calls, the kind of call, and until when it rings.
impl Deref for CcParam {
    type Target = call_protocol::CcParam;

    fn deref(&self) -> &call_protocol::CcParam {
        &self.read
    }
}

impl From<CcParam> for String {
    fn from(param: CcParam) -> String {
        param.text
    }
}

impl From<&CcParam> for String {
    fn from(param: &CcParam) -> String {
        param.text.clone()
    }
}

/// The text is a credential, and stays out of logs.
impl std::fmt::Debug for CcParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CcParam").field("call", &self.read.call_id).finish_non_exhaustive()
    }
}
