import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.runBlocking
import org.callkit.*

/** Where the server is, and how the voice comes and goes. */
fun config(server: String) = CallKitConfig(
    appId = "demo",
    server = server,
    audioInput = AudioInput.Speech(looped = true), // leave these two out to use the microphone
    audioOutput = AudioOutput.Null, // and the loudspeaker
)

/** The app is there: it waits for a call, and takes it. */
suspend fun awake(server: String, backend: DevBackend): String {
    val kit = CallKit.signIn(config(server), "bob", backend.accessToken())
    backend.supply(kit)
    kit.initRtc()
    val events = kit.events().asFlow()
    println("bob waits for a call")
    val end = events.onEach { event ->
        when (event) {
            is CallKitEvent.ReceiveCall -> {
                println("${event.user} calls")
                kit.answer(event.callId)
            }
            is CallKitEvent.FirstAudio -> println("they talk")
            is CallKitEvent.UserMuteAudio -> println(if (event.muted) "muted" else "unmuted")
            else -> {}
        }
    }.first { it is CallKitEvent.CallEnd } as CallKitEvent.CallEnd
    kit.signOut()
    return end.reason.toString()
}

/** A call of which a push told: only the events that this app cares for. */
class PushedCall(val ended: CompletableDeferred<String>) : CallListener() {
    val alive = CompletableDeferred<Call>()

    override fun onVerified(call: Call, peerUseResponderPreparation: Boolean) {
        alive.complete(call)
    }

    override fun onConnected(call: Call, inPreparation: Boolean, shouldFinish: Boolean) = println("they talk")

    override fun onPeerMicMuted(call: Call) = println("muted")

    override fun onPeerMicUnmuted(call: Call) = println("unmuted")

    override fun onDisconnected(call: Call, reason: DisconnectReason, source: DisconnectSource, byRemote: Boolean, userCode: String?) {
        ended.complete(reason.toString())
    }
}

/** The app sleeps, and a push wakes it: what that brought is enough to ask whether the call is alive, and to take it. */
suspend fun asleep(server: String, backend: DevBackend): String {
    println("bob waits for a push")
    var pushed = backend.ccParam() // a real app is given it by the push service
    while (pushed == null) {
        delay(100)
        pushed = backend.ccParam()
    }
    println("${parseCcParam(pushed)?.peer} calls")
    val listener = PushedCall(CompletableDeferred())
    val param = VerifyCallParam(myUserId = "bob", myServiceId = "demo", ccParam = pushed)
    val started = CallManager(config(server)).verifyCall(param, listener)
    check(started.reason == StartFailReason.NONE) { "the call is gone: ${started.reason}" }
    listener.alive.await().accept(false)
    return listener.ended.await()
}

/** Waits for a call, takes it, and says what happened; with `--push` as an app that sleeps. */
fun main(arguments: Array<String>) = runBlocking {
    val server = arguments.firstOrNull { it != "--push" } ?: "http://127.0.0.1:7450"
    val backend = DevBackend.signIn(server, "bob", "a password") // a real app asks its own backend
    val reason = if ("--push" in arguments) asleep(server, backend) else awake(server, backend)
    println("over: $reason")
}
