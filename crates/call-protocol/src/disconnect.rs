//! How the face of one call names an end: reason, source and why a call could not start. Names and numbers are the documented ones.

use serde::{Deserialize, Serialize};

use crate::end::EndReason;

/// Why a call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i32)]
pub enum DisconnectReason {
    /// A reason that has no number here.
    Unknown = -1,
    /// Ended without error.
    Normal = 1001,
    /// The callee said no.
    Decline = 1002,
    /// A cellular call came in.
    CellCall = 1003,
    /// An error inside the kit or the server.
    InternalError = 1109,
    /// The app ended it with an error code of its own.
    UserError = 1110,
    /// An error of the operating system below the kit.
    InternalKitError = 1111,
    /// The microphone gave nothing for a while.
    AudioTxNoSrc = 1112,
    /// The caller gave up before an answer.
    Cancel = 1201,
    /// The callee is in a call.
    Busy = 1202,
    /// No answer in time.
    NoAnswer = 1203,
    /// The callee is calling the caller at this moment.
    AlreadyGotACall = 1204,
    /// The same user is in a call on another device.
    MultidevInUse = 1205,
    /// Answered on another device.
    MultidevAnswer = 1206,
    /// Declined on another device.
    MultidevDecline = 1207,
    /// The longest allowed call is over.
    MaxCallTimeExceeded = 1208,
    /// The network cannot keep a call.
    NetworkUnstable = 1301,
    /// The callee could not be notified.
    PushError = 1302,
    /// Authentication failed.
    AuthError = 1303,
    /// The call was already over.
    ReleasedCall = 1304,
    /// An error inside the server.
    ServerInternalError = 1305,
    /// No network for the announced time.
    UnavailableNetwork = 1308,
    /// The app was ended.
    AppDestroy = 1309,
    /// The system went to sleep.
    SystemSleep = 1310,
    /// The user logged off the system.
    SystemLogoff = 1311,
    /// A packet was larger than the network carries.
    MtuExceeded = 1312,
    /// The app server's data could not be delivered.
    AppServerDataError = 1313,
    /// The screen was locked.
    DesktopScreenLocked = 1314,
    /// The group call is full.
    RoomIsFull = 1401,
    /// Alone in the group call for too long.
    AloneKickOut = 1402,
    /// Everybody left before the join was complete.
    RoomNotFound = 1404,
    /// The same user joined from another instance.
    AnotherInstanceTryToJoin = 1405,
    /// The access token was refused.
    ServiceAccessTokenError = 1501,
    /// A user or service id was refused.
    ServiceInvalidId = 1502,
    /// The server is in maintenance.
    ServiceMaintenance = 1503,
    /// The server is too busy.
    ServiceBusy = 1504,
    /// The server failed before the call began.
    ServiceInternalError = 1505,
    /// The server could not be asked.
    ServiceHttpError = 1506,
    /// The server did not answer in time.
    ServiceConnectionTimeOut = 1507,
    /// The server's certificate was refused.
    ServiceInvalidPeerCert = 1508,
    /// No connection to the server.
    ServiceConnectFail = 1509,
    /// The server's address is not one.
    ServiceInvalidUrl = 1510,
    /// The client is too old for the server.
    ServiceIncompatiblePlanetkitVer = 1511,
    /// Too many requests.
    ServiceTooManyRequests = 1512,
}

impl DisconnectReason {
    /// Every value, by number.
    pub const ALL: [DisconnectReason; 44] = [
        DisconnectReason::Unknown,
        DisconnectReason::Normal,
        DisconnectReason::Decline,
        DisconnectReason::CellCall,
        DisconnectReason::InternalError,
        DisconnectReason::UserError,
        DisconnectReason::InternalKitError,
        DisconnectReason::AudioTxNoSrc,
        DisconnectReason::Cancel,
        DisconnectReason::Busy,
        DisconnectReason::NoAnswer,
        DisconnectReason::AlreadyGotACall,
        DisconnectReason::MultidevInUse,
        DisconnectReason::MultidevAnswer,
        DisconnectReason::MultidevDecline,
        DisconnectReason::MaxCallTimeExceeded,
        DisconnectReason::NetworkUnstable,
        DisconnectReason::PushError,
        DisconnectReason::AuthError,
        DisconnectReason::ReleasedCall,
        DisconnectReason::ServerInternalError,
        DisconnectReason::UnavailableNetwork,
        DisconnectReason::AppDestroy,
        DisconnectReason::SystemSleep,
        DisconnectReason::SystemLogoff,
        DisconnectReason::MtuExceeded,
        DisconnectReason::AppServerDataError,
        DisconnectReason::DesktopScreenLocked,
        DisconnectReason::RoomIsFull,
        DisconnectReason::AloneKickOut,
        DisconnectReason::RoomNotFound,
        DisconnectReason::AnotherInstanceTryToJoin,
        DisconnectReason::ServiceAccessTokenError,
        DisconnectReason::ServiceInvalidId,
        DisconnectReason::ServiceMaintenance,
        DisconnectReason::ServiceBusy,
        DisconnectReason::ServiceInternalError,
        DisconnectReason::ServiceHttpError,
        DisconnectReason::ServiceConnectionTimeOut,
        DisconnectReason::ServiceInvalidPeerCert,
        DisconnectReason::ServiceConnectFail,
        DisconnectReason::ServiceInvalidUrl,
        DisconnectReason::ServiceIncompatiblePlanetkitVer,
        DisconnectReason::ServiceTooManyRequests,
    ];

    /// The documented number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The value with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }
}

/// Who ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i32)]
pub enum DisconnectSource {
    /// Not told.
    Undefined = 0,
    /// The callee.
    Callee = 1,
    /// The caller.
    Caller = 2,
    /// A participant of a group call.
    Participant = 3,
    /// The call server.
    CloudServer = 4,
    /// The app's own backend.
    AppServer = 5,
}

impl DisconnectSource {
    /// Every value, by number.
    pub const ALL: [DisconnectSource; 6] = [
        DisconnectSource::Undefined,
        DisconnectSource::Callee,
        DisconnectSource::Caller,
        DisconnectSource::Participant,
        DisconnectSource::CloudServer,
        DisconnectSource::AppServer,
    ];

    /// The documented number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The value with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }
}

/// Why a call could not start; `None` is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i32)]
pub enum StartFailReason {
    /// Success.
    None = 0,
    /// A mandatory parameter is missing.
    InvalidParam = 1,
    /// An unfinished session with the same identifier exists.
    AlreadyExist = 2,
    /// An argument, such as the cc_param, cannot be decoded.
    DecodeCallParam = 3,
    /// Memory ran out.
    MemoryError = 4,
    /// The callee or room is the caller itself.
    IdConflict = 5,
    /// The instance was already used.
    Reuse = 6,
    /// A user id is not one.
    InvalidUserId = 7,
    /// A service id is not one.
    InvalidServiceId = 8,
    /// An API key is not one.
    InvalidApiKey = 9,
    /// A room id is not one.
    InvalidRoomId = 10,
    /// The app server data is too long.
    TooLongAppServerData = 11,
    /// The kit is not initialised.
    NotInitialized = 12,
    /// Apple: unknown media type.
    AppleUnknownMediaType = 2001,
    /// Apple: invalid room id.
    AppleInvalidRoomId = 2002,
    /// Apple: invalid peer id.
    AppleInvalidPeerId = 2003,
    /// Apple: invalid push message.
    AppleInvalidPushMessage = 2004,
    /// Apple: no Metal device.
    AppleNoMetalDevice = 2005,
    /// Apple: invalid authentication.
    AppleInvalidAuthentication = 2006,
    /// Apple: the kit could not be initialised.
    AppleInternalInitializationError = 2999,
    /// No permission to use the microphone.
    NoRecordAudioPermission = 3000,
    /// My user id is blank.
    MyUserIdBlank = 3002,
    /// My service id is blank.
    MyServiceIdBlank = 3003,
    /// The peer's user id is blank.
    PeerUserIdBlank = 3004,
    /// The peer's service id is blank.
    PeerServiceIdBlank = 3005,
    /// The state does not allow a call to be made.
    InvalidStateToMakeCall = 3006,
    /// A cellular call is active.
    CellularCallActive = 3007,
    /// The state does not allow a join.
    InvalidStateToJoin = 3008,
    /// The room id is blank.
    RoomIdBlank = 3009,
    /// The room's service id is blank.
    RoomServiceIdBlank = 3010,
    /// No permission to read the phone state.
    NoReadPhoneStatePermission = 3011,
    /// Internal: the verification failed.
    InternalVerifyException = 3994,
    /// Internal: bridge error 1.
    InternalJni1 = 3995,
    /// Internal: bridge error 2.
    InternalJni2 = 3996,
    /// Internal: bridge error 3.
    InternalJni3 = 3997,
    /// Internal: bridge error 4.
    InternalJni4 = 3998,
    /// Internal: undefined.
    InternalUndefined = 3999,
}

impl StartFailReason {
    /// Every value, by number.
    pub const ALL: [StartFailReason; 37] = [
        StartFailReason::None,
        StartFailReason::InvalidParam,
        StartFailReason::AlreadyExist,
        StartFailReason::DecodeCallParam,
        StartFailReason::MemoryError,
        StartFailReason::IdConflict,
        StartFailReason::Reuse,
        StartFailReason::InvalidUserId,
        StartFailReason::InvalidServiceId,
        StartFailReason::InvalidApiKey,
        StartFailReason::InvalidRoomId,
        StartFailReason::TooLongAppServerData,
        StartFailReason::NotInitialized,
        StartFailReason::AppleUnknownMediaType,
        StartFailReason::AppleInvalidRoomId,
        StartFailReason::AppleInvalidPeerId,
        StartFailReason::AppleInvalidPushMessage,
        StartFailReason::AppleNoMetalDevice,
        StartFailReason::AppleInvalidAuthentication,
        StartFailReason::AppleInternalInitializationError,
        StartFailReason::NoRecordAudioPermission,
        StartFailReason::MyUserIdBlank,
        StartFailReason::MyServiceIdBlank,
        StartFailReason::PeerUserIdBlank,
        StartFailReason::PeerServiceIdBlank,
        StartFailReason::InvalidStateToMakeCall,
        StartFailReason::CellularCallActive,
        StartFailReason::InvalidStateToJoin,
        StartFailReason::RoomIdBlank,
        StartFailReason::RoomServiceIdBlank,
        StartFailReason::NoReadPhoneStatePermission,
        StartFailReason::InternalVerifyException,
        StartFailReason::InternalJni1,
        StartFailReason::InternalJni2,
        StartFailReason::InternalJni3,
        StartFailReason::InternalJni4,
        StartFailReason::InternalUndefined,
    ];

    /// The documented number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The value with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }
}

impl DisconnectReason {
    /// The disconnect reason and source that go with an end reason, at a caller or at a callee.
    pub fn of(reason: EndReason, at_caller: bool) -> (DisconnectReason, DisconnectSource) {
        let (me, other) = if at_caller {
            (DisconnectSource::Caller, DisconnectSource::Callee)
        } else {
            (DisconnectSource::Callee, DisconnectSource::Caller)
        };
        match reason {
            EndReason::Hangup => (DisconnectReason::Normal, me),
            EndReason::RemoteHangup => (DisconnectReason::Normal, other),
            EndReason::Cancel | EndReason::RemoteCancel => (DisconnectReason::Cancel, DisconnectSource::Caller),
            EndReason::Refuse | EndReason::RemoteRefuse => (DisconnectReason::Decline, DisconnectSource::Callee),
            EndReason::Busy => (DisconnectReason::Busy, DisconnectSource::Callee),
            EndReason::NoResponse | EndReason::RemoteNoResponse => {
                (DisconnectReason::NoAnswer, DisconnectSource::Caller)
            }
            EndReason::AnsweredElsewhere => (DisconnectReason::MultidevAnswer, DisconnectSource::CloudServer),
            EndReason::RefusedElsewhere => (DisconnectReason::MultidevDecline, DisconnectSource::CloudServer),
            EndReason::RemoteDrop => (DisconnectReason::UnavailableNetwork, other),
            EndReason::Error => (DisconnectReason::InternalError, me),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_lead_back() {
        for reason in DisconnectReason::ALL {
            assert_eq!(DisconnectReason::from_number(reason.number()), Some(reason));
        }
        for reason in StartFailReason::ALL {
            assert_eq!(StartFailReason::from_number(reason.number()), Some(reason));
        }
        for source in DisconnectSource::ALL {
            assert_eq!(DisconnectSource::from_number(source.number()), Some(source));
        }
        assert_eq!(DisconnectReason::from_number(1303), Some(DisconnectReason::AuthError));
        assert_eq!(DisconnectReason::from_number(7), None);
    }

    #[test]
    fn both_ends_of_a_call_name_the_same_reason_and_source() {
        for reason in [EndReason::Hangup, EndReason::Cancel, EndReason::Refuse, EndReason::NoResponse, EndReason::Busy]
        {
            assert_eq!(DisconnectReason::of(reason, true), DisconnectReason::of(reason.mirrored(), false), "{reason}");
        }
    }
}
