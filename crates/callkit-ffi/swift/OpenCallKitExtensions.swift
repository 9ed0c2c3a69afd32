// Written by hand, beside what is generated: streams as asynchronous sequences, and listeners that need not have every method.

/// `for await event in kit.events()`: ends when the kit is signed out.
extension EventStream: AsyncSequence, AsyncIteratorProtocol {
    public typealias Element = CallKitEvent

    public func makeAsyncIterator() -> EventStream { self }
}

/// Ends when the call is over.
extension StatisticsStream: AsyncSequence, AsyncIteratorProtocol {
    public typealias Element = CallStatistics

    public func makeAsyncIterator() -> StatisticsStream { self }
}

/// Goes on for as long as somebody asks.
extension AudioLevelStream: AsyncSequence, AsyncIteratorProtocol {
    public typealias Element = AudioLevels

    public func makeAsyncIterator() -> AudioLevelStream { self }
}

/// A listener to a kit does nothing about an event whose method it lacks.
extension CallKitEventHandler {
    public func onReceiveCall(user: UserId, callId: CallId, callType: CallType, ext: [String: String]) throws {}
    public func onCallWaiting(user: UserId, callId: CallId, callType: CallType, ext: [String: String]) throws {}
    public func onCallMissed(user: UserId, callId: CallId, callType: CallType, ext: [String: String]) throws {}
    public func onCallMerged(old: CallId, callId: CallId, callType: CallType) throws {}
    public func onCallHeld(callId: CallId, held: Bool) throws {}
    public func onPeerHeld(callId: CallId, held: Bool) throws {}
    public func onRinging(callId: CallId, user: UserId) throws {}
    public func onAnswer(callId: CallId) throws {}
    public func onJoinedChannel(callId: CallId, channel: ChannelId) throws {}
    public func onUserJoined(callId: CallId, uid: Uid, user: UserId?) throws {}
    public func onUserLeft(callId: CallId, uid: Uid, user: UserId?) throws {}
    public func onUserMuteAudio(callId: CallId, uid: Uid, muted: Bool) throws {}
    public func onUserMuteVideo(callId: CallId, uid: Uid, muted: Bool) throws {}
    public func onUserRemoved(callId: CallId, user: UserId, reason: EndReason) throws {}
    public func onFirstAudio(callId: CallId, uid: Uid) throws {}
    public func onPeerReachable(callId: CallId, reachable: Bool, endsInMs: UInt32) throws {}
    public func onNetworkAvailable(callId: CallId, available: Bool, endsInMs: UInt32) throws {}
    public func onMicrophoneFailed(callId: CallId, failure: MicrophoneFailure) throws {}
    public func onMicrophoneRestored(callId: CallId) throws {}
    public func onCallEnd(callId: CallId, reason: EndReason, userCode: String?) throws {}
    public func onError(callId: CallId?, error: CallError) throws {}
    public func onAccessTokenExpiring(leftMs: UInt32) throws {}
    public func onConnectionChanged(state: ConnectionState) throws {}
    public func onEventsLost(count: UInt32) throws {}
}

/// A listener to one call does nothing about an event whose method it lacks.
extension CallEventHandler {
    public func onWaitConnected(call: Call) throws {}
    public func onVerified(call: Call, peerUseResponderPreparation: Bool) throws {}
    public func onConnected(call: Call, inPreparation: Bool, shouldFinish: Bool) throws {}
    public func onPreparationFinished(call: Call) throws {}
    public func onDisconnected(call: Call, reason: DisconnectReason, source: DisconnectSource, byRemote: Bool, userCode: String?) throws {}
    public func onPeerMicMuted(call: Call) throws {}
    public func onPeerMicUnmuted(call: Call) throws {}
    public func onPeerHold(call: Call, reason: String?) throws {}
    public func onPeerUnhold(call: Call) throws {}
    public func onMyAudioMuteRequestedByPeer(call: Call, muted: Bool) throws {}
    public func onNetworkUnavailable(call: Call, isPeer: Bool, secondsUntilDisconnect: UInt32) throws {}
    public func onNetworkReavailable(call: Call, isPeer: Bool) throws {}
    public func onPeerAudioDescriptionUpdated(call: Call, level: UInt8) throws {}
    public func onMicrophoneFailed(call: Call, failure: MicrophoneFailure) throws {}
    public func onMicrophoneRestored(call: Call) throws {}
    public func onBackgroundCallAdopted(call: Call) throws {}
    public func onEventsLost(call: Call, count: UInt32) throws {}
}

/// A listener to this side's own media does nothing about an event whose method it lacks.
extension MyMediaStatusHandler {
    public func onMicMute() throws {}
    public func onMicUnmute() throws {}
    public func onAudioDescriptionUpdate(level: UInt8) throws {}
}
