package org.callkit

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

// Written by hand, beside what is generated: streams as flows, and listeners that need not have every method.

/**
 * The events of a kit from when somebody collects them; completes when the kit is signed out. Each collector has a stream of its own.
 * For one that begins before, take `events()` first and its [asFlow].
 */
public fun CallKit.eventFlow(): Flow<CallKitEvent> = flow { events().use { stream -> while (true) emit(stream.next() ?: break) } }

/** What is left of a stream that was begun before: for one collector. Cancelled, it loses no event. */
public fun EventStream.asFlow(): Flow<CallKitEvent> = flow { while (true) emit(next() ?: break) }

/** Both levels, 0 to 100, at this interval in ms, for as long as they are collected. */
public fun CallKit.audioLevelFlow(intervalMs: ULong): Flow<AudioLevels> =
    flow { audioLevels(intervalMs).use { stream -> while (true) emit(stream.next() ?: break) } }

/** The figures of a call at this interval in ms; completes when the call is over. */
public fun CallKit.statisticsFlow(callId: CallId, intervalMs: ULong): Flow<CallStatistics> =
    flow { statisticsStream(callId, intervalMs).use { stream -> while (true) emit(stream.next() ?: break) } }

/** The figures of this call at this interval in ms; completes when the call is over. */
public fun Call.statisticsFlow(intervalMs: ULong): Flow<CallStatistics> =
    flow { statisticsStream(intervalMs).use { stream -> while (true) emit(stream.next() ?: break) } }

/** Listens to a kit, and does nothing about an event whose method is not overridden. */
public open class CallKitListener : CallKitEventHandler {
    override fun onReceiveCall(user: UserId, callId: CallId, callType: CallType, ext: Map<String, String>) {}
    override fun onCallWaiting(user: UserId, callId: CallId, callType: CallType, ext: Map<String, String>) {}
    override fun onCallMissed(user: UserId, callId: CallId, callType: CallType, ext: Map<String, String>) {}
    override fun onCallMerged(old: CallId, callId: CallId, callType: CallType) {}
    override fun onCallHeld(callId: CallId, held: Boolean) {}
    override fun onPeerHeld(callId: CallId, held: Boolean) {}
    override fun onRinging(callId: CallId, user: UserId) {}
    override fun onAnswer(callId: CallId) {}
    override fun onJoinedChannel(callId: CallId, channel: ChannelId) {}
    override fun onUserJoined(callId: CallId, uid: Uid, user: UserId?) {}
    override fun onUserLeft(callId: CallId, uid: Uid, user: UserId?) {}
    override fun onUserMuteAudio(callId: CallId, uid: Uid, muted: Boolean) {}
    override fun onUserMuteVideo(callId: CallId, uid: Uid, muted: Boolean) {}
    override fun onUserRemoved(callId: CallId, user: UserId, reason: EndReason) {}
    override fun onFirstAudio(callId: CallId, uid: Uid) {}
    override fun onPeerReachable(callId: CallId, reachable: Boolean, endsInMs: UInt) {}
    override fun onNetworkAvailable(callId: CallId, available: Boolean, endsInMs: UInt) {}
    override fun onMicrophoneFailed(callId: CallId, failure: MicrophoneFailure) {}
    override fun onMicrophoneRestored(callId: CallId) {}
    override fun onCallEnd(callId: CallId, reason: EndReason, userCode: String?) {}
    override fun onError(callId: CallId?, error: CallException) {}
    override fun onAccessTokenExpiring(leftMs: UInt) {}
    override fun onConnectionChanged(state: ConnectionState) {}
    override fun onEventsLost(count: UInt) {}
}

/** Listens to one call, and does nothing about an event whose method is not overridden. */
public open class CallListener : CallEventHandler {
    override fun onWaitConnected(call: Call) {}
    override fun onVerified(call: Call, peerUseResponderPreparation: Boolean) {}
    override fun onConnected(call: Call, inPreparation: Boolean, shouldFinish: Boolean) {}
    override fun onPreparationFinished(call: Call) {}
    override fun onDisconnected(call: Call, reason: DisconnectReason, source: DisconnectSource, byRemote: Boolean, userCode: String?) {}
    override fun onPeerMicMuted(call: Call) {}
    override fun onPeerMicUnmuted(call: Call) {}
    override fun onPeerHold(call: Call, reason: String?) {}
    override fun onPeerUnhold(call: Call) {}
    override fun onMyAudioMuteRequestedByPeer(call: Call, muted: Boolean) {}
    override fun onNetworkUnavailable(call: Call, isPeer: Boolean, secondsUntilDisconnect: UInt) {}
    override fun onNetworkReavailable(call: Call, isPeer: Boolean) {}
    override fun onPeerAudioDescriptionUpdated(call: Call, level: UByte) {}
    override fun onMicrophoneFailed(call: Call, failure: MicrophoneFailure) {}
    override fun onMicrophoneRestored(call: Call) {}
    override fun onBackgroundCallAdopted(call: Call) {}
    override fun onEventsLost(call: Call, count: UInt) {}
}

/** Listens to this side's own media, and does nothing about an event whose method is not overridden. */
public open class MyMediaStatusListener : MyMediaStatusHandler {
    override fun onMicMute() {}
    override fun onMicUnmute() {}
    override fun onAudioDescriptionUpdate(level: UByte) {}
}
