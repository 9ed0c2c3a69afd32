//! How calls may end: what the caller is told beside what the callee is told.

use call_protocol::end::EndReason::{self, *};
use signaling::Role;

use crate::device::Told;
use crate::rules::Truth;

/// When two parties may be told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// In any world.
    Always,
    /// Only where messages are lost or machines fail, so that each acted on what it could know.
    Fault,
}
use When::{Always, Fault};

/// Every pair of ends there may be: the caller's, the callee's (none: it never rang), when, and how it comes about. The callee's is that of
/// the device that took the call, or where none did, of each device that rang. Devices that are told `answered_elsewhere` or
/// `refused_elsewhere` have rules of their own.
const TABLE: &[(EndReason, Option<EndReason>, When, &str)] = &[
    (Hangup, Some(RemoteHangup), Always, "the caller hung up"),
    (RemoteHangup, Some(Hangup), Always, "the callee hung up"),
    (
        RemoteHangup,
        None,
        Fault,
        "the caller took a call of the callee's, hung up and called, and the callee heard of that in another order",
    ),
    (Hangup, Some(Hangup), Always, "both hung up at the same moment"),
    (Cancel, Some(RemoteCancel), Always, "the caller gave up"),
    (Cancel, None, Always, "the caller gave up before it rang"),
    (Cancel, Some(NoResponse), Always, "the caller gave up as the time was over"),
    (Cancel, Some(Refuse), Always, "the caller gave up as the callee refused"),
    (Cancel, Some(Hangup), Always, "the caller gave up as the callee answered and thought better of it"),
    (Cancel, Some(Error), Always, "the caller gave up as the callee's media failed"),
    (Cancel, Some(RemoteDrop), Always, "the caller gave up as the callee could hear nobody"),
    (RemoteRefuse, Some(Refuse), Always, "the callee said no"),
    (RemoteRefuse, Some(Hangup), Always, "the callee answered and hung up before the answer was heard"),
    (Busy, None, Always, "the callee's line answered by itself"),
    (Busy, Some(Busy), Fault, "it did so in an earlier life of the app, which rings again"),
    (Cancel, Some(Busy), Fault, "the caller gave up as the callee, who had been busy, called back"),
    (
        RemoteDrop,
        Some(Busy),
        Fault,
        "the arbiter could not hear the caller as the callee, who had been busy, called back",
    ),
    (RemoteNoResponse, Some(Busy), Fault, "the time was over as the callee, who had been busy, called back"),
    (Error, Some(Busy), Fault, "the caller's media failed as the callee, who had been busy, called back"),
    (
        Busy,
        Some(Refuse),
        Fault,
        "a device of the callee that the arbiter could not hear any more rang on, and its user refused",
    ),
    (Busy, Some(NoResponse), Fault, "it rang on for all the time"),
    (Busy, Some(Hangup), Fault, "the callee had been busy, called back, and thought better of it"),
    (Busy, Some(Error), Fault, "the callee had been busy, called back, and its media failed"),
    (Busy, Some(RemoteDrop), Fault, "the callee had been busy, called back, and was not heard"),
    (RemoteNoResponse, Some(NoResponse), Always, "the time was over"),
    (RemoteNoResponse, None, Fault, "no device of the callee could be reached"),
    (RemoteNoResponse, Some(Refuse), Always, "the callee said no when the time was over"),
    (RemoteNoResponse, Some(Hangup), Always, "the callee answered when the time was over and hung up"),
    (RemoteNoResponse, Some(Error), Always, "the callee's media failed when the time was over"),
    (RemoteNoResponse, Some(RemoteDrop), Fault, "the callee's answer was not heard in time"),
    (RemoteNoResponse, Some(RemoteCancel), Fault, "the caller heard nothing of the arbiter for all the time"),
    (Error, Some(RemoteDrop), Always, "the caller's media failed"),
    (Error, Some(RemoteCancel), Fault, "the caller's media failed as its app signed out, and that was heard first"),
    (RemoteDrop, Some(Error), Always, "the callee's media failed"),
    (Error, Some(Error), Always, "the media of both failed"),
    (Error, Some(Hangup), Always, "the caller's media failed as the callee hung up"),
    (Hangup, Some(Error), Always, "the callee's media failed as the caller hung up"),
    (Error, Some(Refuse), Always, "the caller's media failed as the callee refused"),
    (Error, Some(NoResponse), Always, "the caller's media failed as the time was over"),
    (Error, None, Always, "the caller's media failed before it rang, or the call was refused"),
    (RemoteDrop, Some(RemoteDrop), Always, "the parties could not hear each other, or the arbiter one of them"),
    (Hangup, Some(RemoteDrop), Always, "the callee could hear nobody as the caller hung up"),
    (RemoteDrop, Some(Hangup), Always, "the caller could hear nobody as the callee hung up"),
    (RemoteDrop, Some(NoResponse), Fault, "the arbiter could not hear the caller as the time was over"),
    (RemoteDrop, Some(Refuse), Fault, "the arbiter could not hear the caller as the callee refused"),
    (RemoteDrop, None, Fault, "the arbiter could not hear the caller before it rang"),
];

/// Whether a call in which both apps lived may end so for the two of them.
pub(crate) fn may_end_so(told: [Option<EndReason>; 2], faultless: bool) -> bool {
    let [Some(caller), callee] = told else { return false };
    let fits = |row: &&(EndReason, Option<EndReason>, When, &str)| {
        row.0 == caller && row.1 == callee && (row.2 == Always || !faultless)
    };
    TABLE.iter().any(|row| fits(&row))
}

/// An end that a device was told, with what is known of the call.
pub(crate) struct Case<'a> {
    pub(crate) at: usize,
    pub(crate) told: &'a Told,
    pub(crate) truth: Option<&'a Truth>,
    pub(crate) now: u64,
    pub(crate) troubled: bool,
    /// The device that decided has lost the call.
    pub(crate) lost: bool,
    /// The caller took a call of the callee's before, hung up and called: the callee's line may hear of that in another order.
    pub(crate) crossed: bool,
}

/// Whether this reason is true for the device that was told it, by `now` at the latest.
pub(crate) fn came_about(reason: EndReason, case: &Case<'_>) -> bool {
    let Case { at, told, truth, now, troubled, lost, crossed } = *case;
    let out_of_patience = now >= told.patient_until && told.role == Some(Role::Caller);
    let Some(truth) = truth else {
        // The arbiter never heard of it.
        return match reason {
            Cancel => told.hung_up,
            RemoteNoResponse => out_of_patience,
            Error | RemoteDrop => told.failed,
            Hangup | RemoteHangup | RemoteCancel | Refuse | RemoteRefuse | Busy | NoResponse | AnsweredElsewhere
            | RefusedElsewhere => false,
        };
    };
    let calls = at == truth.caller;
    let caller_hung_up = truth.hung_up.has(truth.caller);
    let a_callee_hung_up = truth.hung_up.has_others(truth.caller);
    match reason {
        // An earlier life of the app may have said so.
        Hangup => truth.hung_up.has(at),
        Cancel => told.hung_up && calls,
        Refuse => truth.hung_up.has(at) && !calls,
        RemoteHangup => {
            if calls {
                a_callee_hung_up || crossed
            } else {
                caller_hung_up
            }
        }
        RemoteCancel => {
            let gave_up = truth.told.get(&truth.caller) == Some(&RemoteNoResponse);
            !calls && (caller_hung_up || gave_up || lost || !truth.hurt.is_empty())
        }
        RemoteRefuse => calls && a_callee_hung_up,
        NoResponse => !calls && now >= truth.deadline,
        RemoteNoResponse => calls && (now >= truth.deadline || out_of_patience),
        // A callee is told so where an earlier life of its app was busy.
        Busy => !truth.busy.is_empty(),
        AnsweredElsewhere => {
            // Another device took it, or an earlier life of this app did.
            let elsewhere = truth.winner.is_some_and(|winner| winner != at || !told.answered);
            let taken = elsewhere && truth.answered_at.is_some();
            !calls && (taken || truth.merged)
        }
        RefusedElsewhere => !calls && truth.hung_up.has_others(at),
        RemoteDrop | Error => troubled || !truth.failed.is_empty() || !truth.hurt.is_empty() || told.failed,
    }
}
