import OpenCallKit

/// Calls bob, mutes for a moment, hangs up, and says what happened.
@main
struct Call {
    static func main() async throws {
        let server = CommandLine.arguments.dropFirst().first ?? "http://127.0.0.1:7450"
        // A real app asks its own backend.
        let backend = try await DevBackend.signIn(url: server, user: "alice", password: "a password")
        let config = CallKitConfig(
            appId: "demo",
            server: server,
            audioInput: .speech(looped: true), // leave these two out to use the microphone
            audioOutput: .null // and the loudspeaker
        )
        let kit = try await CallKit.signIn(config: config, user: "alice", accessToken: backend.accessToken())
        backend.supply(kit: kit)
        try await kit.initRtc()
        let events = kit.events()
        let callId = try await kit.startSingleCall(user: "bob", callType: .audio1v1)
        for await event in events {
            if case let .ringing(_, user) = event { print("it rings at \(user)") }
            if case .firstAudio = event {
                print("they talk")
                try await Task.sleep(nanoseconds: 1_000_000_000)
                try await kit.mute()
                try await Task.sleep(nanoseconds: 1_000_000_000)
                try await kit.unmute()
                try await Task.sleep(nanoseconds: 1_000_000_000)
                try await kit.hangup(callId: callId)
            }
            if case let .callEnd(_, reason, _) = event {
                print("over: \(reason)")
                break
            }
        }
        await kit.signOut()
    }
}
