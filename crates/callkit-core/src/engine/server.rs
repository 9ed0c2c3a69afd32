//! What the server says, what the rules of a call make of it, and what is said to the server, to other devices, and on media paths.

use call_protocol::media::NegotiationBody;
use call_protocol::session::{ClientBody, RefuseReason, ServerBody, Welcome};
use call_protocol::{CallMessage, Word};
use signaling::{Address, DeskOutput, Event, Input, Route};

use super::Engine;
use crate::error::CallError;
use crate::event::{ConnectionState, KitEvent};
use crate::output::Output;
use crate::session::ServerEvent;

/// The connection.
impl Engine {
    pub(super) fn on_server(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Connected(welcome) => self.on_connected(welcome),
            ServerEvent::Disconnected => {
                self.connected = false;
                self.emit(KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting });
            }
            ServerEvent::Received(body) => self.on_received(body),
            ServerEvent::AccessExpiring { left_ms } => {
                let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
                self.emit(KitEvent::AccessTokenExpiring { left_ms });
            }
            ServerEvent::SignedOut(reason) => self.on_signed_out(reason),
        }
        self.update_networks();
    }

    fn on_connected(&mut self, welcome: Welcome) {
        // The first one the app learns from its sign-in.
        if std::mem::replace(&mut self.was_connected, true) {
            self.emit(KitEvent::ConnectionChanged { state: ConnectionState::Connected });
        }
        self.set_server_clock(welcome.server_unix_ms);
        self.stun_servers = welcome.stun_servers;
        self.connected = true;
        // Whatever the arbiters missed of this device meanwhile they hear at once.
        self.give(Input::Connected);
        if !welcome.resumed {
            self.join_again();
        }
    }

    fn on_received(&mut self, body: ServerBody) {
        match body {
            ServerBody::Call(message) => self.give(Input::Message { from: Address::Server, message }),
            ServerBody::Channel(event) => self.on_channel(event),
            ServerBody::Pong { server_unix_ms, .. } => self.set_server_clock(server_unix_ms),
            ServerBody::Welcome(_) | ServerBody::Refuse(_) | ServerBody::Access(_) => {}
        }
    }

    fn on_signed_out(&mut self, reason: RefuseReason) {
        self.connected = false;
        tracing::info!(%reason, "signed out");
        self.emit(KitEvent::ConnectionChanged { state: ConnectionState::SignedOut(reason) });
        self.note_signed_out(reason);
        self.give_up_present_calls(CallError::SignedOut);
        self.is_signed_out = true;
    }
}

/// The rules of a call.
impl Engine {
    /// Gives the line an input that cannot fail, and carries out what it says.
    pub(super) fn give(&mut self, input: Input) {
        if let Err(error) = self.try_give(input) {
            tracing::warn!(%error, "the line refused");
        }
    }

    /// Gives the line an input and carries out what it says.
    pub(super) fn try_give(&mut self, input: Input) -> Result<(), CallError> {
        let result = self.desk.handle_input(self.server_now(), input);
        // What is to be sent goes first: the end of a call closes the media path, on which its last message travels.
        let mut events = Vec::new();
        while let Some(output) = self.desk.poll_output() {
            match output {
                DeskOutput::Send { to, message } => self.send_message(to, message),
                DeskOutput::Direct { to, message } => self.send_in_band(&to, message),
                DeskOutput::Tell(event) => events.push(event),
                DeskOutput::Fact(fact) => tracing::debug!(?fact, "arbitrated"),
                DeskOutput::WakeAt(time, _timer) => self.wake = Some(time),
            }
        }
        events.into_iter().for_each(|event| self.on_event(event));
        self.update_audio();
        self.update_tracks();
        result.map_err(CallError::from)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Notifying { call_id } => self.on_notifying(call_id),
            Event::Alerted { call_id, callee } => self.on_alerted(call_id, callee),
            Event::Ringing { invite, waiting } => self.on_ringing(*invite, waiting),
            Event::Merged { old, invite } => self.on_merged(old, *invite),
            Event::Answering { call_id, peer } => self.on_answering(call_id, peer),
            Event::Accepted { invite, peer, preparation, .. } => self.on_accepted(*invite, peer, preparation),
            Event::Failed { call_id, refusal } => self.on_failed(call_id, refusal),
            Event::Negotiation { call_id, from, body: NegotiationBody::Notice(notice) } => {
                self.on_notice(call_id, &from, notice);
            }
            Event::Negotiation { call_id, from, body } => self.on_negotiation(call_id, from, body),
            Event::Held { call_id, held } => self.on_held(call_id, held),
            Event::PeerHeld { call_id, held, reason } => self.on_peer_held(call_id, held, reason),
            Event::Missed { invite } => self.on_missed(*invite),
            Event::Reachability { call_id, reachable, ends_in_ms } => {
                self.on_reachability(call_id, reachable, ends_in_ms);
            }
            // Only a handler of one call asks about a call.
            Event::Released { call_id, reason, release } => self.on_released(call_id, reason, release),
            Event::Ended { call_id, reason, role, release } => self.on_ended(call_id, reason, role, release),
        }
    }

    fn send_message(&mut self, to: Route, message: CallMessage) {
        tracing::debug!(call = %message.call_id, word = message.word.name(), "sent");
        match &to {
            Route::Server => return self.send(ClientBody::Call(message)),
            Route::Device(device) => {
                // What two devices tell each other all the time need not burden the app's carrier; what is urgent goes both ways.
                let has_path = self.is_connected_to(message.call_id, device);
                match &message.word {
                    Word::KeepAlive(_) | Word::Hold { .. } if has_path => return self.send_in_band(device, message),
                    Word::Answer(_) | Word::AnswerConfirm(_) | Word::Cancel(_) | Word::End(_) => {
                        self.send_in_band(device, message.clone());
                    }
                    Word::Invite(_)
                    | Word::Alert(_)
                    | Word::RingConfirm(_)
                    | Word::KeepAlive(_)
                    | Word::Negotiation(_)
                    | Word::Reachability { .. }
                    | Word::Hold { .. }
                    | Word::Missed(_) => {}
                }
            }
            Route::User(_) => match &message.word {
                Word::AnswerConfirm(confirm) => self.send_in_band(&confirm.winner, message.clone()),
                Word::Cancel(_) => self.send_in_band_to_all(&message),
                Word::Invite(_)
                | Word::Alert(_)
                | Word::RingConfirm(_)
                | Word::Answer(_)
                | Word::End(_)
                | Word::KeepAlive(_)
                | Word::Negotiation(_)
                | Word::Reachability { .. }
                | Word::Hold { .. }
                | Word::Missed(_) => {}
            },
        }
        if self.settings.has_chat {
            self.outputs.push_back(Output::SendChat { to, message });
        }
    }
}
