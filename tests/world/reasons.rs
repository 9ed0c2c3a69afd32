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

/// Every pair of ends there may be: the caller's, the callee's (none: it never rang), when, and how it comes about.
const TABLE: &[(EndReason, Option<EndReason>, When, &str)] = &[
    (Hangup, Some(RemoteHangup), Always, "the caller hung up"),
    (RemoteHangup, Some(Hangup), Always, "the callee hung up"),
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
    (RemoteNoResponse, Some(NoResponse), Always, "the time was over"),
    (RemoteNoResponse, None, Fault, "no phone of the callee could be reached"),
    (RemoteNoResponse, Some(Refuse), Always, "the callee said no when the time was over"),
    (RemoteNoResponse, Some(Hangup), Always, "the callee answered when the time was over and hung up"),
    (RemoteNoResponse, Some(Error), Always, "the callee's media failed when the time was over"),
    (RemoteNoResponse, Some(RemoteDrop), Fault, "the callee's answer was not heard in time"),
    (RemoteNoResponse, Some(RemoteCancel), Fault, "the caller heard nothing of the server for all the time"),
    (Error, Some(RemoteDrop), Always, "the caller's media failed"),
    (RemoteDrop, Some(Error), Always, "the callee's media failed"),
    (Error, Some(Error), Always, "the media of both failed"),
    (Error, Some(Hangup), Always, "the caller's media failed as the callee hung up"),
    (Hangup, Some(Error), Always, "the callee's media failed as the caller hung up"),
    (Error, Some(Refuse), Always, "the caller's media failed as the callee refused"),
    (Error, Some(NoResponse), Always, "the caller's media failed as the time was over"),
    (Error, None, Always, "the caller's media failed before it rang, or the server refused the call"),
    (RemoteDrop, Some(RemoteDrop), Always, "the parties could not hear each other, or the server one of them"),
    (Hangup, Some(RemoteDrop), Always, "the callee could hear nobody as the caller hung up"),
    (RemoteDrop, Some(Hangup), Always, "the caller could hear nobody as the callee hung up"),
    (RemoteDrop, Some(NoResponse), Fault, "the server could not hear the caller as the time was over"),
    (RemoteDrop, Some(Refuse), Fault, "the server could not hear the caller as the callee refused"),
    (RemoteDrop, None, Fault, "the server could not hear the caller before it rang"),
];

/// Whether a call in which both apps lived may end so for the two of them.
pub(crate) fn may_end_so(told: [Option<EndReason>; 2], faultless: bool) -> bool {
    let [Some(caller), callee] = told else { return false };
    let fits = |row: &&(EndReason, Option<EndReason>, When, &str)| {
        row.0 == caller && row.1 == callee && (row.2 == Always || !faultless)
    };
    TABLE.iter().any(|row| fits(&row))
}

/// Whether this reason is true for the phone that was told it, by `now` at the latest.
pub(crate) fn came_about(reason: EndReason, at: usize, told: &Told, truth: Option<&Truth>, now: u64) -> bool {
    let out_of_patience = now >= told.patient_until && told.role == Some(Role::Caller);
    let Some(truth) = truth else {
        // The server never heard of it.
        return match reason {
            Cancel => told.hung_up,
            RemoteNoResponse => out_of_patience,
            Error => told.failed,
            RemoteDrop => told.failed,
            Hangup | RemoteHangup | RemoteCancel | Refuse | RemoteRefuse | Busy | NoResponse | AnsweredElsewhere
            | RefusedElsewhere => false,
        };
    };
    let Some(side) = truth.side(at) else { return false };
    let other = 1 - side;
    let calls = side == 0;
    match reason {
        // An earlier life of the app may have said so.
        Hangup => truth.hung_up[side],
        Cancel => told.hung_up && calls,
        Refuse => truth.hung_up[side] && !calls,
        RemoteHangup => truth.hung_up[other],
        RemoteCancel => !calls && (truth.hung_up[other] || truth.told[other] == Some(RemoteNoResponse) || truth.hurt),
        RemoteRefuse => calls && truth.hung_up[other],
        NoResponse => !calls && now >= truth.deadline,
        RemoteNoResponse => calls && (now >= truth.deadline || out_of_patience),
        // A callee is told so where an earlier life of its app was busy.
        Busy => truth.busy,
        AnsweredElsewhere | RefusedElsewhere => false,
        RemoteDrop | Error => true,
    }
}
