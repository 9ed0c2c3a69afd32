import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.callkit.*

/** Two phones of this process call each other; fails, and says what it waited for, where one step of the call does not come. */

const val PATIENCE_MS = 30_000L

suspend fun <T> soon(what: String, step: suspend () -> T): T {
    val found = withTimeout(PATIENCE_MS) { step() }
    println("ok: $what")
    return found
}

/** A kit, and what its flow of events brought that nobody has asked for yet. */
class Phone(val kit: CallKit) {
    val waiting = Channel<CallKitEvent>(Channel.UNLIMITED)
    val listened = Channel<String>(Channel.UNLIMITED)
    val flow = kit.events().asFlow()

    suspend inline fun <reified Kind : CallKitEvent> until(crossinline fits: (Kind) -> Boolean = { true }): Kind =
        soon(Kind::class.java.simpleName) {
            var event = waiting.receive()
            while (event !is Kind || !fits(event)) event = waiting.receive()
            event
        }
}

suspend fun phone(server: String, user: String, hz: Float): Phone {
    val backend = DevBackend.signIn(server, user, "a password")
    val config = CallKitConfig(
        appId = "demo",
        server = server,
        audioInput = AudioInput.Tone(hz = hz, amplitude = 0.5f),
        audioOutput = AudioOutput.Null,
        interfaces = Interfaces.Loopback,
        levelIntervalMs = 50u,
    )
    val phone = Phone(CallKit.signIn(config, user, backend.accessToken()))
    backend.supply(phone.kit)
    phone.kit.initRtc()
    // One method only: the others do nothing.
    phone.kit.addEventListener("one method", object : CallKitListener() {
        override fun onCallEnd(callId: CallId, reason: EndReason, userCode: String?) {
            phone.listened.trySend(reason.toString())
        }
    })
    return phone
}

suspend fun aCall(alice: Phone, bob: Phone) {
    val callId = alice.kit.startSingleCall("bob", CallType.AUDIO1V1, mapOf("topic" to "lunch"))
    val ring = bob.until<CallKitEvent.ReceiveCall>()
    check(ring.callId == callId && ring.user == "alice" && ring.ext == mapOf("topic" to "lunch")) { ring }
    alice.until<CallKitEvent.Ringing>()
    bob.kit.answer(callId)
    for (phone in listOf(alice, bob)) {
        phone.until<CallKitEvent.FirstAudio>()
        soon("the tone of the other one is heard") { phone.kit.audioLevelFlow(20u).first { it.peer > 0f } }
    }
    check(alice.kit.statisticsFlow(callId, 100u).first().codec == "opus")
    alice.kit.mute()
    bob.until<CallKitEvent.UserMuteAudio> { it.muted }
    soon("nothing is heard of one who is muted") { bob.kit.audioLevelFlow(20u).first { it.peer == 0f } }
    alice.kit.unmute()
    bob.until<CallKitEvent.UserMuteAudio> { !it.muted }
    soon("it is heard again") { bob.kit.audioLevelFlow(20u).first { it.peer > 0f } }
    bob.kit.hangup(callId)
    check(alice.until<CallKitEvent.CallEnd>().reason == EndReason.REMOTE_HANGUP)
    check(bob.until<CallKitEvent.CallEnd>().reason == EndReason.HANGUP)
    check(soon("the listener's one method") { alice.listened.receive() } == "REMOTE_HANGUP")
}

/** A call that is declined by one who is given nothing but what a push brings. */
suspend fun aPushedCall(server: String, alice: Phone) {
    val backend = DevBackend.signIn(server, "carol", "a password")
    val callId = alice.kit.startSingleCall("carol", CallType.AUDIO1V1)
    val pushed = soon("a push") {
        var ccParam = backend.ccParam()
        while (ccParam == null) ccParam = backend.ccParam()
        ccParam
    }
    val (alive, over) = CompletableDeferred<Call>() to CompletableDeferred<DisconnectReason>()
    val listener = object : CallListener() {
        override fun onVerified(call: Call, peerUseResponderPreparation: Boolean) { alive.complete(call) }

        override fun onDisconnected(call: Call, reason: DisconnectReason, source: DisconnectSource, byRemote: Boolean, userCode: String?) {
            over.complete(reason)
        }
    }
    val manager = CallManager(
        CallKitConfig(appId = "demo", server = server, audioInput = AudioInput.Silence, audioOutput = AudioOutput.Null),
    )
    val started = manager.verifyCall(VerifyCallParam(myUserId = "carol", myServiceId = "demo", ccParam = pushed), listener)
    check(started.reason == StartFailReason.NONE) { started.reason }
    val call = soon("a pushed call is alive") { alive.await() }
    check(call.id() == callId && call.peerUserId() == "alice")
    call.end()
    check(alice.until<CallKitEvent.CallEnd>().reason == EndReason.REMOTE_REFUSE)
    soon("its end is told") { over.await() }
}

fun main(arguments: Array<String>) = runBlocking {
    val server = arguments[0]
    val (alice, bob) = phone(server, "alice", 440f) to phone(server, "bob", 880f)
    coroutineScope {
        val told = listOf(alice, bob).map { phone -> async { phone.flow.onEach { phone.waiting.send(it) }.toList() } }
        aCall(alice, bob)
        aPushedCall(server, alice)
        val refused = runCatching { bob.kit.answer("0".repeat(32)) }.exceptionOrNull()
        check(refused is CallException.NoSuchCall) { "$refused" }
        alice.kit.signOut()
        bob.kit.signOut()
        // The flows complete, and no event was doubled.
        for (events in told) check(soon("a flow that ends with its kit") { events.await() }.toSet().size == events.await().size)
    }
    check(runCatching { alice.kit.mute() }.exceptionOrNull() is CallException.SignedOut)
    println("two phones called each other")
}
