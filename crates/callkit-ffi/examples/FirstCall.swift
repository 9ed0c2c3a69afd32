import OpenCallKit

func phone(server: String, user: String) async throws -> CallKit {
    let backend = try await DevBackend.signIn(url: server, user: user, password: "a password") // a real app asks its own backend
    let config = CallKitConfig(
        appId: "demo",
        server: server,
        audioInput: .speech(looped: true), // leave these two out to use the microphone
        audioOutput: .null // and the loudspeaker
    )
    let kit = try await CallKit.signIn(config: config, user: user, accessToken: backend.accessToken())
    backend.supply(kit: kit)
    try await kit.initRtc()
    return kit
}

@main
struct FirstCall {
    static func main() async throws {
        let server = CommandLine.arguments[1]
        let alice = try await phone(server: server, user: "alice")
        let bob = try await phone(server: server, user: "bob")
        let (alices, bobs) = (alice.events(), bob.events())
        _ = try await alice.startSingleCall(user: "bob", callType: .audio1v1)
        while let event = await bobs.next() {
            guard case let .receiveCall(_, callId, _, _) = event else { continue }
            try await bob.answer(callId: callId)
            while let event = await alices.next() {
                print(event)
                if case .firstAudio = event { try await bob.hangup(callId: callId) }
                if case .callEnd = event { break }
            }
            break
        }
        await alice.signOut()
        await bob.signOut()
    }
}
