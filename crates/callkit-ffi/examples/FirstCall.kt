import kotlinx.coroutines.runBlocking
import org.callkit.*

suspend fun phone(server: String, user: String): CallKit {
    val backend = DevBackend.signIn(server, user, "a password") // a real app asks its own backend
    val config = CallKitConfig(
        appId = "demo",
        server = server,
        audioInput = AudioInput.Speech(looped = true), // leave these two out to use the microphone
        audioOutput = AudioOutput.Null, // and the loudspeaker
    )
    val kit = CallKit.signIn(config, user, backend.accessToken())
    backend.supply(kit)
    kit.initRtc()
    return kit
}

suspend inline fun <reified Kind : CallKitEvent> EventStream.until(): Kind {
    while (true) {
        val event = next() ?: error("the kit is signed out")
        println(event)
        if (event is Kind) return event
    }
}

fun main(arguments: Array<String>) = runBlocking {
    val server = arguments[0]
    val alice = phone(server, "alice")
    val bob = phone(server, "bob")
    val (alices, bobs) = alice.events() to bob.events()
    alice.startSingleCall("bob", CallType.AUDIO1V1)
    val call = bobs.until<CallKitEvent.ReceiveCall>()
    bob.answer(call.callId)
    alices.until<CallKitEvent.FirstAudio>()
    bob.hangup(call.callId)
    alices.until<CallKitEvent.CallEnd>()
    alice.signOut()
    bob.signOut()
}
