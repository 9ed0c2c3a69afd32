//! What the app wants, and how it is answered.

use signaling::Input;

use super::Engine;
use crate::command::{CallCommand, Command, Response};
use crate::error::CallError;
use crate::ids::{CallKey, CommandId};
use crate::output::Output;

impl Engine {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command) {
        let response = match command {
            Command::InitRtc => {
                self.initialized = true;
                Response::Done(Ok(()))
            }
            Command::ReleaseRtc => {
                self.release_rtc();
                Response::Done(Ok(()))
            }
            Command::StartCall { user, call_type, ext } => Response::Started(self.start_call(user, call_type, ext)),
            Command::Answer { call_id } => Response::Done(self.answer(call_id)),
            Command::Hangup { call_id } => Response::Done(self.hang_up(call_id)),
            Command::Hold { call_id, held } => {
                let command = signaling::Command::Hold { call_id, held, reason: None };
                Response::Done(self.try_give(Input::Command(command)))
            }
            Command::MakeCall(call) => Response::Made(self.make_call(id, *call)),
            Command::VerifyCall(call) => Response::Made(self.verify_call(id, *call)),
            Command::Call { call, command } => Response::Done(self.on_call_command(id, call, command)),
            Command::Mute(muted) => {
                self.mute(muted);
                Response::Done(Ok(()))
            }
            Command::Speaker(on) => {
                self.set_speaker(on);
                Response::Done(Ok(()))
            }
            Command::AudioActive(active) => {
                self.set_audio_active(active);
                Response::Done(Ok(()))
            }
            Command::MutePeer { call_id, muted } => Response::Done(self.mute_peer(call_id, muted)),
            Command::ChooseMicrophone(device) => return self.choose_microphone(device, id),
            Command::ChooseLoudspeaker(device) => return self.choose_loudspeaker(device, id),
            Command::AccessToken(token) => {
                self.session.renew_access(self.now, token.0);
                Response::Done(Ok(()))
            }
            Command::SignOut => return self.finish(),
        };
        self.reply(id, response);
    }

    fn on_call_command(&mut self, id: CommandId, key: CallKey, command: CallCommand) -> Result<(), CallError> {
        let call_id = self.call_of(key).ok_or(CallError::NoSuchCall)?;
        match command {
            CallCommand::Accept { preparation } => self.accept(call_id, preparation),
            CallCommand::End(ending) => self.end(call_id, ending),
            CallCommand::FinishPreparation => self.finish_preparation(call_id),
            CallCommand::Hold(reason) => self.hold_with_reason(call_id, reason),
            CallCommand::Unhold => {
                self.try_give(Input::Command(signaling::Command::Hold { call_id, held: false, reason: None }))
            }
            CallCommand::Mute(muted) => {
                self.mute_call(call_id, muted);
                Ok(())
            }
            CallCommand::RequestPeerMute(muted) => self.request_peer_mute(call_id, muted),
            CallCommand::MutePeer(muted) => self.mute_peer(call_id, muted),
            CallCommand::AudioActivated => {
                self.set_audio_active(true);
                Ok(())
            }
            CallCommand::Adopt => {
                if let Some(call) = self.app_calls.get_mut(call_id) {
                    call.is_background = false;
                }
                self.outputs.push_back(Output::SetHandler { call: key, command: id });
                Ok(())
            }
        }
    }
}
