//! How the face of one call names what happened; see `docs/reasons.md`.

use callkit::{DisconnectReason, DisconnectSource, StartFailReason};

/// Why a call is over.
#[uniffi::remote(Enum)]
pub enum DisconnectReason {
    /// A reason that has no number here.
    Unknown,
    /// Ended without error.
    Normal,
    /// The callee said no.
    Decline,
    /// A cellular call came in.
    CellCall,
    /// An error inside the kit or the server.
    InternalError,
    /// The app ended it with an error code of its own.
    UserError,
    /// An error of the operating system below the kit.
    InternalKitError,
    /// The microphone gave nothing for a while.
    AudioTxNoSrc,
    /// The caller gave up before an answer.
    Cancel,
    /// The callee is in a call.
    Busy,
    /// No answer in time.
    NoAnswer,
    /// The callee is calling the caller at this moment.
    AlreadyGotACall,
    /// The same user is in a call on another device.
    MultidevInUse,
    /// Answered on another device.
    MultidevAnswer,
    /// Declined on another device.
    MultidevDecline,
    /// The longest allowed call is over.
    MaxCallTimeExceeded,
    /// The network cannot keep a call.
    NetworkUnstable,
    /// The callee could not be notified.
    PushError,
    /// Authentication failed.
    AuthError,
    /// The call was already over.
    ReleasedCall,
    /// An error inside the server.
    ServerInternalError,
    /// No network for the announced time.
    UnavailableNetwork,
    /// The app was ended.
    AppDestroy,
    /// The system went to sleep.
    SystemSleep,
    /// The user logged off the system.
    SystemLogoff,
    /// A packet was larger than the network carries.
    MtuExceeded,
    /// The app server's data could not be delivered.
    AppServerDataError,
    /// The screen was locked.
    DesktopScreenLocked,
    /// The group call is full.
    RoomIsFull,
    /// Alone in the group call for too long.
    AloneKickOut,
    /// Everybody left before the join was complete.
    RoomNotFound,
    /// The same user joined from another instance.
    AnotherInstanceTryToJoin,
    /// The access token was refused.
    ServiceAccessTokenError,
    /// A user or service id was refused.
    ServiceInvalidId,
    /// The server is in maintenance.
    ServiceMaintenance,
    /// The server is too busy.
    ServiceBusy,
    /// The server failed before the call began.
    ServiceInternalError,
    /// The server could not be asked.
    ServiceHttpError,
    /// The server did not answer in time.
    ServiceConnectionTimeOut,
    /// The server's certificate was refused.
    ServiceInvalidPeerCert,
    /// No connection to the server.
    ServiceConnectFail,
    /// The server's address is not one.
    ServiceInvalidUrl,
    /// The client is too old for the server.
    ServiceIncompatiblePlanetkitVer,
    /// Too many requests.
    ServiceTooManyRequests,
}

/// Who ended the call.
#[uniffi::remote(Enum)]
pub enum DisconnectSource {
    /// Not told.
    Undefined,
    /// The callee.
    Callee,
    /// The caller.
    Caller,
    /// A participant of a group call.
    Participant,
    /// The call server.
    CloudServer,
    /// The app's own backend.
    AppServer,
}

/// Why a call could not start; `None` is success.
#[uniffi::remote(Enum)]
pub enum StartFailReason {
    /// Success.
    None,
    /// A mandatory parameter is missing.
    InvalidParam,
    /// An unfinished session with the same identifier exists.
    AlreadyExist,
    /// An argument, such as the cc_param, cannot be decoded.
    DecodeCallParam,
    /// Memory ran out.
    MemoryError,
    /// The callee or room is the caller itself.
    IdConflict,
    /// The instance was already used.
    Reuse,
    /// A user id is not one.
    InvalidUserId,
    /// A service id is not one.
    InvalidServiceId,
    /// An API key is not one.
    InvalidApiKey,
    /// A room id is not one.
    InvalidRoomId,
    /// The app server data is too long.
    TooLongAppServerData,
    /// The kit is not initialised.
    NotInitialized,
    /// Apple: unknown media type.
    AppleUnknownMediaType,
    /// Apple: invalid room id.
    AppleInvalidRoomId,
    /// Apple: invalid peer id.
    AppleInvalidPeerId,
    /// Apple: invalid push message.
    AppleInvalidPushMessage,
    /// Apple: no Metal device.
    AppleNoMetalDevice,
    /// Apple: invalid authentication.
    AppleInvalidAuthentication,
    /// Apple: the kit could not be initialised.
    AppleInternalInitializationError,
    /// No permission to use the microphone.
    NoRecordAudioPermission,
    /// My user id is blank.
    MyUserIdBlank,
    /// My service id is blank.
    MyServiceIdBlank,
    /// The peer's user id is blank.
    PeerUserIdBlank,
    /// The peer's service id is blank.
    PeerServiceIdBlank,
    /// The state does not allow a call to be made.
    InvalidStateToMakeCall,
    /// A cellular call is active.
    CellularCallActive,
    /// The state does not allow a join.
    InvalidStateToJoin,
    /// The room id is blank.
    RoomIdBlank,
    /// The room's service id is blank.
    RoomServiceIdBlank,
    /// No permission to read the phone state.
    NoReadPhoneStatePermission,
    /// Internal: the verification failed.
    InternalVerifyException,
    /// Internal: bridge error 1.
    InternalJni1,
    /// Internal: bridge error 2.
    InternalJni2,
    /// Internal: bridge error 3.
    InternalJni3,
    /// Internal: bridge error 4.
    InternalJni4,
    /// Internal: undefined.
    InternalUndefined,
}

/// The documented number of a reason.
#[uniffi::export]
pub fn disconnect_reason_number(reason: DisconnectReason) -> i32 {
    reason.number()
}

/// The documented number of a source.
#[uniffi::export]
pub fn disconnect_source_number(source: DisconnectSource) -> i32 {
    source.number()
}

/// The documented number of a reason.
#[uniffi::export]
pub fn start_fail_reason_number(reason: StartFailReason) -> i32 {
    reason.number()
}
