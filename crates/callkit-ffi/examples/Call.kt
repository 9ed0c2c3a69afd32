import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.runBlocking
import org.callkit.*

/** Calls bob, mutes for a moment, hangs up, and says what happened. */
fun main(arguments: Array<String>) = runBlocking {
    val server = arguments.firstOrNull() ?: "http://127.0.0.1:7450"
    val backend = DevBackend.signIn(server, "alice", "a password") // a real app asks its own backend
    val config = CallKitConfig(
        appId = "demo",
        server = server,
        audioInput = AudioInput.Speech(looped = true), // leave these two out to use the microphone
        audioOutput = AudioOutput.Null, // and the loudspeaker
    )
    val kit = CallKit.signIn(config, "alice", backend.accessToken())
    backend.supply(kit)
    kit.initRtc()
    val events = kit.events().asFlow()
    val callId = kit.startSingleCall("bob", CallType.AUDIO1V1)
    val end = events.onEach { event ->
        when (event) {
            is CallKitEvent.Ringing -> println("it rings at ${event.user}")
            is CallKitEvent.FirstAudio -> {
                println("they talk")
                delay(1000)
                kit.mute()
                delay(1000)
                kit.unmute()
                delay(1000)
                kit.hangup(callId)
            }
            is CallKitEvent.Error -> println("error: ${event.error.text()}")
            else -> {}
        }
    }.first { it is CallKitEvent.CallEnd } as CallKitEvent.CallEnd
    kit.signOut()
    check(end.reason == EndReason.HANGUP) { "the call ended: ${end.reason}" }
    println("over")
}
