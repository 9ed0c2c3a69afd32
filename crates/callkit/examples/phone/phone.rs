//! The phone: one call at a time, events on the screen, commands to the kit, by either of its faces.

use std::process::ExitCode;

use callkit::{CallError, CallId, CallKit, CallKitEvent, CallQuality, CallType, ConnectionState, DevBackend, Ext};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::command::{Command, HELP, Line};
use crate::face::{self, Ear, Told};
use crate::options::Face;
use crate::screen::{self, REFRESH, Screen};

pub(crate) struct Phone {
    kit: CallKit,
    backend: DevBackend,
    screen: Screen,
    face: Face,
    auto_answer: bool,
    /// The handler of calls that have one of their own, and what it was told.
    ear: Ear,
    told: mpsc::UnboundedReceiver<Told>,
    /// Where a script hears the names of events.
    script: Option<mpsc::UnboundedSender<&'static str>>,
    call: Option<Call>,
    muted: bool,
    /// The input is over.
    input_is_over: bool,
    /// Set when the phone is to end.
    ends_with: Option<ExitCode>,
}

/// The present call.
struct Call {
    id: CallId,
    /// Its own face, where it has one.
    face: Option<callkit::Call>,
    /// What the living line says before there is sound.
    state: String,
    /// The last figures, for the summary: at the end the kit has none any more.
    quality: Option<CallQuality>,
}

impl Call {
    async fn answer(&self, kit: &CallKit) -> Result<(), CallError> {
        match &self.face {
            Some(face) => face.accept(false).await,
            None => kit.answer(self.id).await,
        }
    }

    async fn hang_up(&self, kit: &CallKit) -> Result<(), CallError> {
        match &self.face {
            Some(face) => face.end().await,
            None => kit.hangup(self.id).await,
        }
    }

    async fn hold(&self, kit: &CallKit, held: bool) -> Result<(), CallError> {
        match &self.face {
            Some(face) if held => face.hold(None).await,
            Some(face) => face.unhold().await,
            None if held => kit.hold(self.id).await,
            None => kit.unhold(self.id).await,
        }
    }
}

impl Phone {
    pub(crate) fn new(
        (kit, backend): (CallKit, DevBackend),
        screen: Screen,
        face: Face,
        auto_answer: bool,
        script: Option<mpsc::UnboundedSender<&'static str>>,
    ) -> Phone {
        let (ear, told) = mpsc::unbounded_channel();
        Phone {
            kit,
            backend,
            screen,
            face,
            auto_answer,
            ear: Ear(ear),
            told,
            script,
            call: None,
            muted: false,
            input_is_over: false,
            ends_with: None,
        }
    }

    /// Runs until it is told to quit or is signed out.
    pub(crate) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Line>) -> ExitCode {
        let mut events = self.kit.events();
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked_to_stop = Box::pin(asked_to_stop());
        self.greet();
        let code = loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => break ExitCode::FAILURE,
                },
                Some(told) = self.told.recv() => self.on_told(told).await,
                Some(line) = inbox.recv() => self.on_line(line).await,
                _ = ticks.tick() => self.look().await,
                () = &mut asked_to_stop => break ExitCode::SUCCESS,
            }
            if let Some(code) = self.ends_with {
                break code;
            }
            if self.input_is_over && self.call.is_none() && !self.auto_answer {
                break ExitCode::SUCCESS;
            }
        };
        self.kit.sign_out().await;
        // What the sign-out ended is told too.
        while let Some(event) = events.next().await {
            self.on_event(event).await;
        }
        self.screen.close();
        code
    }

    fn greet(&mut self) {
        let user = self.kit.user().to_string();
        self.screen.event("signed_in", &format!("as {user}"));
        if self.screen.lives() && self.script.is_none() {
            self.screen.note("Type `call USER` and enter to call somebody; `help` lists all commands.");
        }
    }

    async fn on_line(&mut self, line: Line) {
        match line {
            Line::Do(command) => {
                self.screen.entered();
                self.obey(command).await;
            }
            Line::NotUnderstood(error) => {
                self.screen.entered();
                self.screen.note(&error.to_string());
            }
            Line::Step(command, done) => {
                let went_well = self.obey(command).await;
                // A script that is over does not ask.
                let _ = done.send(went_well);
            }
            Line::Stuck(why) => {
                self.screen.note(&why);
                self.ends_with = Some(ExitCode::FAILURE);
            }
        }
    }

    /// Carries out a command; `false` if it failed, which has been printed then.
    async fn obey(&mut self, command: Command) -> bool {
        let kit = self.kit.clone();
        let outcome = match command {
            Command::Nothing => Ok(()),
            Command::Call(user) => self.call(&user).await,
            Command::Verify(cc_param) => self.verify(cc_param).await,
            Command::Answer => self.with_call(async |call| call.answer(&kit).await).await,
            Command::Hangup => self.with_call(async |call| call.hang_up(&kit).await).await,
            Command::Hold(held) => self.with_call(async |call| call.hold(&kit, held).await).await,
            Command::Mute => self.mute(true).await,
            Command::Unmute => self.mute(false).await,
            Command::Speaker(on) => {
                let outcome = if on { kit.speaker_on().await } else { kit.speaker_off().await };
                self.screen.event("speaker", if on { "on" } else { "off" });
                outcome.map_err(|error| error.to_string())
            }
            Command::Quality => {
                self.show_figures().await;
                Ok(())
            }
            Command::Help => {
                for (name, what) in HELP {
                    self.screen.note(&format!("  {name:<24} {what}"));
                }
                Ok(())
            }
            Command::Quit => {
                self.ends_with = Some(ExitCode::SUCCESS);
                Ok(())
            }
            Command::QuitWhenIdle => {
                self.input_is_over = true;
                Ok(())
            }
        };
        if let Err(why) = &outcome {
            self.screen.event("failed", why);
        }
        self.look().await;
        outcome.is_ok()
    }

    async fn call(&mut self, user: &str) -> Result<(), String> {
        let (id, face) = match self.face {
            Face::Kit => {
                let id = self.kit.start_single_call(user, CallType::Audio1v1, Ext::new()).await;
                (id.map_err(|error| error.to_string())?, None)
            }
            Face::Call => {
                let call = face::make_call(&self.kit, user, self.ear.clone()).await?;
                (call.id(), Some(call))
            }
        };
        self.screen.event("calling", &format!("{user}, call {id}"));
        self.call = Some(Call { id, face, state: format!("calling {user}"), quality: None });
        Ok(())
    }

    async fn verify(&mut self, cc_param: Option<String>) -> Result<(), String> {
        let pushed = match cc_param {
            Some(pushed) => Some(pushed),
            None => self.backend.cc_param().await.map_err(|error| error.to_string())?,
        };
        let cc_param = &pushed.ok_or("no call rings for you")?;
        let call = face::verify_call(&self.kit, cc_param, self.ear.clone()).await?;
        let state = format!("asking about a call of {}", call.peer_user_id());
        self.call = Some(Call { id: call.id(), face: Some(call), state, quality: None });
        Ok(())
    }

    async fn with_call(&self, act: impl AsyncFnOnce(&Call) -> Result<(), CallError>) -> Result<(), String> {
        let outcome = match &self.call {
            Some(call) => act(call).await,
            None => Err(CallError::NoSuchCall),
        };
        outcome.map_err(|error| error.to_string())
    }

    async fn mute(&mut self, muted: bool) -> Result<(), String> {
        let outcome = match self.call.as_ref().and_then(|call| call.face.as_ref()) {
            Some(face) => face.mute_my_audio(muted).await,
            None if muted => self.kit.mute().await,
            None => self.kit.unmute().await,
        };
        let outcome = outcome.map_err(|error| error.to_string());
        self.muted = muted;
        self.screen.event(if muted { "muted" } else { "unmuted" }, "");
        outcome
    }

    async fn show_figures(&mut self) {
        match self.kit.call_quality().await {
            Some(quality) => self.screen.event("quality", &screen::figures(&quality)),
            None => self.screen.event("quality", "no media at present"),
        }
    }

    async fn on_event(&mut self, event: CallKitEvent) {
        self.screen.event(event.name(), &self.told(&event));
        match &event {
            CallKitEvent::ReceiveCall { user, call_id, .. } => self.on_receive_call(user.as_str(), *call_id).await,
            CallKitEvent::Ringing { user, .. } => self.set_state(format!("it rings at {user}")),
            CallKitEvent::Answer { .. } => self.set_state("answered".into()),
            CallKitEvent::CallEnd { .. } => self.is_over(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::SignedOut(_), .. } => {
                self.ends_with = Some(ExitCode::FAILURE);
            }
            _ => {}
        }
        if let Some(script) = &self.script {
            // A script that is over does not listen.
            let _ = script.send(event.name());
        }
        self.look().await;
    }

    /// What the handler of a call with a face of its own was told.
    async fn on_told(&mut self, told: Told) {
        let Told { name, text, is_last } = told;
        self.screen.event(name, &text);
        if is_last {
            self.is_over();
        } else if name == "on_verified" && self.auto_answer {
            self.obey(Command::Answer).await;
        }
        if let Some(script) = &self.script {
            // A script that is over does not listen.
            let _ = script.send(name);
        }
        self.look().await;
    }

    fn is_over(&mut self) {
        if let Some(quality) = self.call.take().and_then(|call| call.quality) {
            self.screen.event("figures", &screen::figures(&quality));
        }
    }

    async fn on_receive_call(&mut self, user: &str, id: CallId) {
        self.call = Some(Call { id, face: None, state: format!("{user} calls: `answer` or `decline`"), quality: None });
        if self.auto_answer
            && let Err(error) = self.kit.answer(id).await
        {
            self.screen.event("failed", &error.to_string());
        }
    }

    /// What an event says, in words.
    fn told(&self, event: &CallKitEvent) -> String {
        let name = |user: &Option<callkit::UserId>| user.as_ref().map_or("somebody".to_owned(), ToString::to_string);
        match event {
            CallKitEvent::ReceiveCall { user, call_id, call_type, .. } => {
                format!("{user} calls ({call_type:?}), call {call_id}")
            }
            CallKitEvent::Ringing { user, .. } => format!("at {user}"),
            CallKitEvent::JoinedChannel { channel, .. } => channel.to_string(),
            CallKitEvent::UserJoined { uid, user, .. } | CallKitEvent::UserLeft { uid, user, .. } => {
                format!("{}, uid {uid}", name(user))
            }
            CallKitEvent::UserMuteAudio { uid, muted, .. } | CallKitEvent::UserMuteVideo { uid, muted, .. } => {
                format!("uid {uid} {}", if *muted { "muted" } else { "unmuted" })
            }
            CallKitEvent::UserRemoved { user, reason, .. } => format!("{user}: {reason}"),
            CallKitEvent::FirstAudio { uid, .. } => format!("uid {uid} is heard"),
            CallKitEvent::PeerReachable { reachable: true, .. } => "the other end is back".into(),
            CallKitEvent::PeerReachable { ends_in_ms, .. } => {
                format!("the server does not hear the other end; the call ends in {ends_in_ms} ms if that lasts")
            }
            CallKitEvent::CallEnd { reason, user_code: Some(code), .. } => format!("{reason}, code {code}"),
            CallKitEvent::CallEnd { reason, .. } => reason.to_string(),
            CallKitEvent::Error { error, .. } => error.to_string(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::Connected, .. } => "connected".into(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::Reconnecting, .. } => {
                "the server is out of reach; trying again, and a call goes on".into()
            }
            CallKitEvent::ConnectionChanged { state: ConnectionState::SignedOut(reason), .. } => {
                format!("signed out: {reason}")
            }
            _ => String::new(),
        }
    }

    fn set_state(&mut self, state: String) {
        if let Some(call) = &mut self.call {
            call.state = state;
        }
    }

    /// Asks for the figures and draws the living line.
    async fn look(&mut self) {
        let line = match &mut self.call {
            None => "no call".to_owned(),
            Some(call) => {
                let quality = self.kit.call_quality().await;
                call.quality = quality.or(call.quality);
                quality.map_or_else(|| call.state.clone(), |quality| screen::meter(&quality, self.muted))
            }
        };
        self.screen.live(line);
    }
}

/// Waits for ctrl-c or the request of the system to end.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
