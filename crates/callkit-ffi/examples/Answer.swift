import OpenCallKit

/// Where the server is, and how the voice comes and goes.
func config(_ server: String) -> CallKitConfig {
    CallKitConfig(
        appId: "demo",
        server: server,
        audioInput: .speech(looped: true), // leave these two out to use the microphone
        audioOutput: .null // and the loudspeaker
    )
}

/// The app is there: it waits for a call, and takes it.
func awake(_ server: String, _ backend: DevBackend) async throws {
    let kit = try await CallKit.signIn(config: config(server), user: "bob", accessToken: backend.accessToken())
    backend.supply(kit: kit)
    try await kit.initRtc()
    for await event in kit.events() {
        if case let .receiveCall(user, callId, _, _) = event {
            print("\(user) calls")
            try await kit.answer(callId: callId)
        }
        if case .firstAudio = event { print("they talk") }
        if case let .userMuteAudio(_, _, muted) = event { print(muted ? "muted" : "unmuted") }
        if case let .callEnd(_, reason, _) = event {
            print("over: \(reason)")
            break
        }
    }
    await kit.signOut()
}

/// A call of which a push told: only the events that this app cares for.
final class PushedCall: CallEventHandler, @unchecked Sendable {
    let alive: AsyncStream<OpenCallKit.Call>.Continuation
    let over: AsyncStream<DisconnectReason>.Continuation

    init(alive: AsyncStream<OpenCallKit.Call>.Continuation, over: AsyncStream<DisconnectReason>.Continuation) {
        (self.alive, self.over) = (alive, over)
    }

    func onVerified(call: OpenCallKit.Call, peerUseResponderPreparation: Bool) throws { alive.yield(call) }

    func onConnected(call: OpenCallKit.Call, inPreparation: Bool, shouldFinish: Bool) throws { print("they talk") }

    func onPeerMicMuted(call: OpenCallKit.Call) throws { print("muted") }

    func onPeerMicUnmuted(call: OpenCallKit.Call) throws { print("unmuted") }

    func onDisconnected(
        call: OpenCallKit.Call, reason: DisconnectReason, source: DisconnectSource, byRemote: Bool, userCode: String?
    ) throws {
        over.yield(reason)
        over.finish()
        alive.finish()
    }
}

/// The app sleeps, and a push wakes it: what that brought is enough to ask whether the call is alive, and to take it. On iOS the payload
/// comes by PushKit, and the call is to be reported to the system's own CallKit at once.
func asleep(_ server: String, _ backend: DevBackend) async throws {
    var pushed = try await backend.ccParam() // a real app is given it by the push service
    while pushed == nil {
        try await Task.sleep(nanoseconds: 100_000_000)
        pushed = try await backend.ccParam()
    }
    let (calls, alive) = AsyncStream<OpenCallKit.Call>.makeStream()
    let (ends, over) = AsyncStream<DisconnectReason>.makeStream()
    let param = VerifyCallParam(myUserId: "bob", myServiceId: "demo", ccParam: pushed!)
    let manager = CallManager(config: config(server))
    let started = await manager.verifyCall(param: param, handler: PushedCall(alive: alive, over: over))
    guard started.call != nil else { return print("the call is gone: \(started.reason)") }
    for await call in calls { try await call.accept(useResponderPreparation: false) }
    for await reason in ends { print("over: \(reason)") }
}

/// Waits for a call, takes it, and says what happened; with `--push` as an app that sleeps.
@main
struct Answer {
    static func main() async throws {
        let words = CommandLine.arguments.dropFirst()
        let server = words.first { $0 != "--push" } ?? "http://127.0.0.1:7450"
        let backend = try await DevBackend.signIn(url: server, user: "bob", password: "a password")
        try await words.contains("--push") ? asleep(server, backend) : awake(server, backend)
    }
}
