//! What the machine says, carried out one after the other; and the figures that handles ask for.

use call_protocol::media::{KeepAlive, Quality};
use call_protocol::session::{ClientBody, ClientFrame};
use call_protocol::{CallId, CallMessage, Word};
use callkit_core::{
    AccessToken, Answer, CommandId, Input, Output, PathCommand, PathConfig, PathId, Question, RequestId, Response,
    StreamId, StreamNotice, UserMapper,
};
use rtc_transport::{AddressMode, IcePolicy, MediaPath, Politeness};
use signaling::Role;

use super::{Driver, RunningPath, Waiting};
use crate::events::kit_event;
use crate::handlers::answered;
use crate::link::RunningStream;
use crate::peer::Peer;
use crate::quality::CallQuality;
use crate::report::Report;
use crate::statistics::CallStatistics;

impl Driver {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Reply { id, response } => self.reply(id, response),
            Output::Connect { stream, hello } => {
                let (endpoint, reports) = (self.endpoint.clone(), self.stream_reports.clone());
                self.stream = Some(RunningStream::connect(stream, endpoint, *hello, reports));
            }
            Output::Send { stream, frame } => self.send(stream, frame),
            Output::Disconnect { stream } => drop(self.stream.take_if(|running| running.id() == stream)),
            Output::AccessToken(token) => self.account.renew(token.0),
            Output::SendChat { to, mut message } => {
                self.add_quality(&mut message);
                if let Some(chat) = &self.chat {
                    chat.send(to, &message);
                }
            }
            Output::Emit(event) => self.teller.tell(kit_event(event)),
            Output::EmitCall { call, event } => self.calls.emit(call, event, self.sound.levels()),
            Output::CallOpened { call, snapshot } => self.calls.open(call, snapshot),
            Output::SetHandler { call, command } => {
                if let Some(Waiting::Begun { handler, keeps_statistics, call: begun, .. }) =
                    self.commands.get_mut(&command)
                {
                    self.calls.set_keeps_statistics(call, *keeps_statistics);
                    *begun = handler.take().and_then(|handler| self.calls.set_handler(call, handler));
                } else if let Some(Waiting::Adopted { handler, .. }) = self.commands.get_mut(&command) {
                    drop(handler.take().and_then(|handler| self.calls.set_handler(call, handler)));
                }
            }
            Output::CallSnapshot { call, snapshot } => self.calls.update(call, snapshot),
            Output::CallClosed { call, end } => self.calls.close(call, end),
            Output::OpenPath { path, config } => self.open_path(path, config),
            Output::TellPath { path, command } => self.tell_path(path, command),
            Output::ClosePath { path } => drop(self.paths.remove(&path)),
            Output::Audio(desired) => self.set_audio(desired),
            Output::Ask { request, question } => self.ask(request, question),
            Output::Finished => self.is_finished = true,
        }
    }

    fn reply(&mut self, id: CommandId, response: Response) {
        let Some(waiting) = self.commands.remove(&id) else { return };
        // Whoever no longer waits for it does not care.
        match (waiting, response) {
            (Waiting::Done(reply) | Waiting::Adopted { reply, .. }, Response::Done(result)) => {
                let _ = reply.send(result);
            }
            (Waiting::Started(reply), Response::Started(result)) => {
                let _ = reply.send(result);
            }
            (Waiting::Begun { call, reply, .. }, Response::Made(result)) => {
                let gone = call_protocol::disconnect::StartFailReason::InternalUndefined;
                let _ = reply.send(result.and_then(|_| call.ok_or(gone)));
            }
            (Waiting::Released(done), Response::Done(_)) => {
                let released = self.sound.released();
                tokio::spawn(async move {
                    released.await;
                    let _ = done.send(());
                });
            }
            (
                Waiting::Nobody
                | Waiting::Done(_)
                | Waiting::Started(_)
                | Waiting::Begun { .. }
                | Waiting::Adopted { .. }
                | Waiting::Released(_),
                Response::Done(_) | Response::Started(_) | Response::Made(_),
            ) => {}
        }
    }

    fn send(&mut self, stream: StreamId, mut frame: ClientFrame) {
        if let Some(ClientBody::Call(message)) = &mut frame.body {
            self.add_quality(message);
        }
        let is_sent = self.stream.as_ref().is_some_and(|running| running.id() == stream && running.send(&frame));
        if !is_sent {
            self.inputs.push_back(Input::Stream { stream, notice: StreamNotice::Ended });
        }
    }

    fn open_path(&mut self, path: PathId, config: PathConfig) {
        let PathConfig { stun_servers, role, relay_only, default_routes_only, failed_after } = config;
        let config = rtc_transport::PathConfig {
            stun_servers,
            interfaces: self.interfaces.clone(),
            turn_servers: self.turn_servers.clone(),
            policy: if relay_only { IcePolicy::RelayOnly } else { IcePolicy::All },
            address_mode: if default_routes_only { AddressMode::DefaultRoute } else { AddressMode::All },
            politeness: match role {
                Role::Caller => Politeness::Impolite,
                Role::Callee => Politeness::Polite,
            },
            failed_after,
            ..rtc_transport::PathConfig::default()
        };
        let peer = Peer::start(config, path, self.reports.clone());
        self.paths.insert(path, RunningPath { peer, media: None });
    }

    fn tell_path(&mut self, path: PathId, mut command: PathCommand) {
        if let PathCommand::Send(message) = &mut command {
            self.add_quality(message);
        }
        if let Some(running) = self.paths.get(&path) {
            running.peer.send(command);
        }
    }

    /// Asks a handler of the app, on a task of its own.
    fn ask(&mut self, request: RequestId, question: Question) {
        let reports = self.reports.clone();
        let at_once = match question {
            Question::RtcToken(wanted) => match self.supplied.token_handler() {
                Some(handler) => {
                    tokio::spawn(async move {
                        let token = answered(async move { handler.rtc_token(wanted).await }).await;
                        let input = Input::Answer { request, answer: Answer::RtcToken(token) };
                        let _ = reports.send(Report::Input(input)).await;
                    });
                    return;
                }
                None => Answer::RtcToken(Err("no handler is set; call set_rtc_token_handler()".to_owned())),
            },
            Question::User { channel, uid } => match self.supplied.mapper_handler() {
                Some(handler) => {
                    tokio::spawn(async move {
                        let users = answered(async move { handler.map_user(channel, uid).await }).await;
                        let input = Input::Answer { request, answer: Answer::User(users) };
                        let _ = reports.send(Report::Input(input)).await;
                    });
                    return;
                }
                None => Answer::User(Ok(UserMapper { channel, users: Vec::new() })),
            },
            Question::AccessToken => match self.supplied.access_handler() {
                Some(handler) => {
                    tokio::spawn(async move {
                        // For as long as it takes: without it there is nothing to be done.
                        let token = tokio::spawn(async move { handler.access_token().await }).await;
                        let token = token.map_or_else(
                            |_| Err("the handler panicked".to_owned()),
                            |token| token.map(AccessToken).map_err(|error| error.0),
                        );
                        let input = Input::Answer { request, answer: Answer::AccessToken(token) };
                        let _ = reports.send(Report::Input(input)).await;
                    });
                    return;
                }
                None => Answer::AccessToken(Err("no handler is set".to_owned())),
            },
        };
        self.inputs.push_back(Input::Answer { request, answer: at_once });
    }
}

/// Figures.
impl Driver {
    fn media_of(&self, call_id: CallId) -> Option<(&MediaPath, bool)> {
        let source = self.engine.figure_source(call_id)?;
        Some((self.paths.get(&source.path)?.media.as_ref()?, source.held))
    }

    pub(super) fn quality(&self) -> Option<CallQuality> {
        let (path, _) = self.media_of(self.engine.sounding()?)?;
        Some(CallQuality::of(&path.stats(), &self.sound.stats()?))
    }

    /// A call on hold has the figures of its path and none of a voice.
    pub(super) fn statistics(&self, call_id: CallId) -> Option<CallStatistics> {
        let (path, held) = self.media_of(call_id)?;
        let voice = self.sound.stats().filter(|_| !held).unwrap_or_default();
        Some(CallStatistics::of(&path.stats(), &voice))
    }

    /// A sign of life in a call carries what the app's backend is told of its sound.
    fn add_quality(&self, message: &mut CallMessage) {
        if let Word::KeepAlive(KeepAlive { in_call: true, quality, .. }) = &mut message.word {
            *quality = self.heard_quality(message.call_id);
        }
    }

    fn heard_quality(&self, call_id: CallId) -> Option<Quality> {
        let (path, _) = self.media_of(call_id)?;
        let path = path.stats();
        let incoming = path.incoming;
        let sent = incoming.packets + incoming.lost;
        let lost_permille = (incoming.lost * 1_000).checked_div(sent).filter(|_| incoming.packets > 0)?;
        Some(Quality {
            lost_permille: u32::try_from(lost_permille).unwrap_or(1_000),
            round_trip_ms: path.rtt_ms?.round() as u32,
            jitter_ms: incoming.jitter_ms.round() as u32,
        })
    }
}
