//! How an end is named to the handler of one call. The table for apps is `docs/reasons.md`.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release, UserCode};
use call_protocol::media::JoinRefusal;
use call_protocol::ring::InviteRefusal;
use call_protocol::session::RefuseReason;
use signaling::Role;

use crate::error::CallError;

/// One end, as the handler of the call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// Why, by its documented number.
    pub reason: DisconnectReason,
    /// Who did it.
    pub source: DisconnectSource,
    /// Not by this device.
    pub by_remote: bool,
    /// What the app that ended it said.
    pub user_code: Option<UserCode>,
}

/// How a side is named as the source of an end.
pub(crate) fn source_of(role: Role) -> DisconnectSource {
    match role {
        Role::Caller => DisconnectSource::Caller,
        Role::Callee => DisconnectSource::Callee,
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Caller => Role::Callee,
        Role::Callee => Role::Caller,
    }
}

impl Disconnect {
    fn new(reason: DisconnectReason, source: DisconnectSource, by_remote: bool) -> Disconnect {
        Disconnect { reason, source, by_remote, user_code: None }
    }

    /// What the server alone did.
    pub(crate) fn by_server(reason: DisconnectReason) -> Disconnect {
        Disconnect::new(reason, DisconnectSource::CloudServer, true)
    }

    /// An end, as this side is told of it; what was said about it counts more than what it was.
    pub(crate) fn of(reason: EndReason, role: Role, release: Option<Release>) -> Disconnect {
        let (me, other) = (source_of(role), source_of(other(role)));
        let is_caller = role == Role::Caller;
        let plain = match reason {
            EndReason::Hangup => Disconnect::new(DisconnectReason::Normal, me, false),
            EndReason::RemoteHangup => Disconnect::new(DisconnectReason::Normal, other, true),
            EndReason::Cancel => Disconnect::new(DisconnectReason::Cancel, DisconnectSource::Caller, false),
            EndReason::RemoteCancel => Disconnect::new(DisconnectReason::Cancel, DisconnectSource::Caller, true),
            EndReason::Refuse => Disconnect::new(DisconnectReason::Decline, DisconnectSource::Callee, false),
            EndReason::RemoteRefuse => Disconnect::new(DisconnectReason::Decline, DisconnectSource::Callee, true),
            EndReason::Busy => Disconnect::new(DisconnectReason::Busy, DisconnectSource::Callee, is_caller),
            // The documented origin is the caller, whose patience is over, though it is the server that keeps the time.
            EndReason::NoResponse | EndReason::RemoteNoResponse => {
                Disconnect::new(DisconnectReason::NoAnswer, DisconnectSource::Caller, !is_caller)
            }
            EndReason::AnsweredElsewhere => Disconnect::by_server(DisconnectReason::MultidevAnswer),
            EndReason::RefusedElsewhere => Disconnect::by_server(DisconnectReason::MultidevDecline),
            EndReason::RemoteDrop => Disconnect::new(DisconnectReason::UnavailableNetwork, other, true),
            EndReason::Error => Disconnect::new(DisconnectReason::InternalError, me, false),
        };
        match release {
            Some(Release { reason, source, user_code }) => {
                let by_remote = source != me && (plain.by_remote || source == DisconnectSource::CloudServer);
                Disconnect { reason, source, by_remote, user_code }
            }
            None => plain,
        }
    }

    /// A call that did not sign in. A server that is not reached has done nothing: it is this side that gives up.
    pub fn not_signed_in(reason: DisconnectReason, role: Role) -> Disconnect {
        if is_of_the_way(reason) {
            Disconnect::new(reason, source_of(role), false)
        } else {
            Disconnect::by_server(reason)
        }
    }

    /// A call that was asked about, and was over.
    pub(crate) fn released(reason: EndReason, release: Option<Release>) -> Disconnect {
        let user_code = release.and_then(|release| release.user_code);
        match reason {
            // The server did not say anything in time.
            EndReason::Error => Disconnect::not_signed_in(DisconnectReason::ServiceConnectionTimeOut, Role::Callee),
            EndReason::Hangup
            | EndReason::RemoteHangup
            | EndReason::Cancel
            | EndReason::RemoteCancel
            | EndReason::Refuse
            | EndReason::RemoteRefuse
            | EndReason::Busy
            | EndReason::NoResponse
            | EndReason::RemoteNoResponse
            | EndReason::AnsweredElsewhere
            | EndReason::RefusedElsewhere
            | EndReason::RemoteDrop => {
                Disconnect { user_code, ..Disconnect::by_server(DisconnectReason::ReleasedCall) }
            }
        }
    }

    /// A call that the server did not open.
    pub(crate) fn not_opened(refusal: InviteRefusal) -> Disconnect {
        Disconnect::by_server(match refusal {
            InviteRefusal::UnknownUser => DisconnectReason::ServiceInvalidId,
            InviteRefusal::Invalid => DisconnectReason::ServiceInternalError,
            InviteRefusal::TooMany => DisconnectReason::ServiceTooManyRequests,
            InviteRefusal::Overloaded => DisconnectReason::ServiceBusy,
            InviteRefusal::TokenExpired => DisconnectReason::ServiceAccessTokenError,
        })
    }

    /// A call that this side cannot go on with.
    pub(crate) fn given_up(error: &CallError, reason: EndReason, role: Role) -> Disconnect {
        let me = source_of(role);
        match error {
            CallError::Join(JoinRefusal::TokenInvalid | JoinRefusal::TokenExpired) => {
                Disconnect::by_server(DisconnectReason::AuthError)
            }
            CallError::Join(JoinRefusal::ChannelFull | JoinRefusal::UidTaken) => {
                Disconnect::by_server(DisconnectReason::ServerInternalError)
            }
            CallError::Media(_) if reason == EndReason::RemoteDrop => {
                Disconnect::new(DisconnectReason::UnavailableNetwork, me, false)
            }
            CallError::Media(_) => Disconnect::new(DisconnectReason::NetworkUnstable, me, false),
            CallError::Device(_) => Disconnect::new(DisconnectReason::AudioTxNoSrc, me, false),
            CallError::InvalidParam(_)
            | CallError::Busy
            | CallError::FetchTokenFailed(_)
            | CallError::Refused
            | CallError::UnknownUser
            | CallError::TooManyCalls
            | CallError::ServerBusy
            | CallError::NoSuchCall
            | CallError::NotRinging
            | CallError::NotInitialized
            | CallError::Disconnected
            | CallError::SignedOut
            | CallError::NotAnswered => Disconnect::new(DisconnectReason::InternalError, me, false),
        }
    }
}

/// Whether it is the way to the server that failed, and not the server that refused.
fn is_of_the_way(reason: DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::ServiceHttpError
            | DisconnectReason::ServiceConnectionTimeOut
            | DisconnectReason::ServiceInvalidPeerCert
            | DisconnectReason::ServiceConnectFail
            | DisconnectReason::ServiceInvalidUrl
    )
}

/// How it is named that the server does not sign a device in, or no longer.
pub fn refused(reason: RefuseReason) -> DisconnectReason {
    match reason {
        RefuseReason::TokenInvalid | RefuseReason::TokenExpired => DisconnectReason::ServiceAccessTokenError,
        RefuseReason::AppUnknown => DisconnectReason::ServiceInvalidId,
        RefuseReason::BadHello | RefuseReason::BadFrame | RefuseReason::Unknown => {
            DisconnectReason::ServiceInternalError
        }
        RefuseReason::VersionUnsupported => DisconnectReason::ServiceIncompatiblePlanetkitVer,
        RefuseReason::Replaced => DisconnectReason::MultidevInUse,
        RefuseReason::SignedOut => DisconnectReason::AuthError,
        RefuseReason::ShuttingDown => DisconnectReason::ServiceMaintenance,
        RefuseReason::TooSlow | RefuseReason::TooMany => DisconnectReason::ServiceTooManyRequests,
        RefuseReason::Overloaded => DisconnectReason::ServiceBusy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_name_the_same_end_alike_and_one_of_them_did_it() {
        for reason in [EndReason::Hangup, EndReason::Cancel, EndReason::Refuse, EndReason::NoResponse] {
            for role in [Role::Caller, Role::Callee] {
                let (here, there) =
                    (Disconnect::of(reason, role, None), Disconnect::of(reason.mirrored(), other(role), None));
                assert_eq!((here.reason, here.source), (there.reason, there.source), "{reason} {role:?}");
                assert_ne!(here.by_remote, there.by_remote, "{reason} {role:?}");
            }
        }
    }

    #[test]
    fn p4_p14_a_server_that_is_not_reached_has_not_ended_the_call() {
        for number in 1_501..=1_512 {
            let reason = DisconnectReason::from_number(number).unwrap();
            for (role, me) in [(Role::Caller, DisconnectSource::Caller), (Role::Callee, DisconnectSource::Callee)] {
                let end = Disconnect::not_signed_in(reason, role);
                let is_here = (1_506..=1_510).contains(&number);
                let source = if is_here { me } else { DisconnectSource::CloudServer };
                assert_eq!((end.source, end.by_remote), (source, !is_here), "{reason:?}");
            }
        }
    }

    #[test]
    fn what_is_said_about_an_end_counts_more_than_the_end() {
        let user_code = Some(UserCode::new("fraud").unwrap());
        let said = Release { reason: DisconnectReason::UserError, source: DisconnectSource::Caller, user_code };
        let here = Disconnect::of(EndReason::Hangup, Role::Caller, Some(said));
        let there = Disconnect::of(EndReason::RemoteHangup, Role::Callee, Some(said));
        assert_eq!((here.reason, here.by_remote), (DisconnectReason::UserError, false));
        assert_eq!(there, Disconnect { by_remote: true, ..here });
        let closed =
            Release { reason: DisconnectReason::PushError, source: DisconnectSource::CloudServer, user_code: None };
        assert!(Disconnect::of(EndReason::Error, Role::Caller, Some(closed)).by_remote);
    }
}
