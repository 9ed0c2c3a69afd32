//! What is counted, for Prometheus. Each server has its own registry, so that several can live in one process.

use std::collections::HashMap;

use call_protocol::end::EndReason;
use call_protocol::ring::InviteRefusal;
use call_protocol::session::RefuseReason;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The handles of one server's metrics.
pub(crate) struct Metering {
    page: PrometheusHandle,
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) sign_ins: Counter,
    pub(crate) resumes: Counter,
    refusals: HashMap<RefuseReason, Counter>,
    pub(crate) frames_in: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) calls: Gauge,
    pub(crate) calls_opened: Counter,
    pub(crate) calls_answered: Counter,
    pub(crate) ring_seconds: Histogram,
    ends: HashMap<EndReason, Counter>,
    invite_refusals: HashMap<InviteRefusal, Counter>,
    pub(crate) channels: Gauge,
    pub(crate) members: Gauge,
    pub(crate) stun_answers: Counter,
    pub(crate) stun_ignored: Counter,
    pub(crate) store_writes: Counter,
    pub(crate) store_failures: Counter,
}

const REFUSALS: [(RefuseReason, &str); 11] = [
    (RefuseReason::TokenInvalid, "token_invalid"),
    (RefuseReason::TokenExpired, "token_expired"),
    (RefuseReason::AppUnknown, "app_unknown"),
    (RefuseReason::BadHello, "bad_hello"),
    (RefuseReason::VersionUnsupported, "version_unsupported"),
    (RefuseReason::Replaced, "replaced"),
    (RefuseReason::ShuttingDown, "shutting_down"),
    (RefuseReason::BadFrame, "bad_frame"),
    (RefuseReason::TooSlow, "too_slow"),
    (RefuseReason::TooMany, "too_many"),
    (RefuseReason::Overloaded, "overloaded"),
];

const INVITE_REFUSALS: [(InviteRefusal, &str); 4] = [
    (InviteRefusal::UnknownUser, "unknown_user"),
    (InviteRefusal::Invalid, "invalid"),
    (InviteRefusal::TooMany, "too_many"),
    (InviteRefusal::Overloaded, "overloaded"),
];

/// Bounds of the ring time's buckets, in s.
const RING_SECONDS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

impl Metering {
    pub(crate) fn new() -> Self {
        let ring = Matcher::Full("callkit_ring_seconds".into());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(ring, &RING_SECONDS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            Self {
                page: recorder.handle(),
                connections: gauge!("callkit_connections"),
                sessions: gauge!("callkit_sessions"),
                sign_ins: counter!("callkit_sign_ins_total"),
                resumes: counter!("callkit_resumes_total"),
                refusals: labelled(REFUSALS, |name| counter!("callkit_refusals_total", "reason" => name)),
                frames_in: counter!("callkit_frames_total", "direction" => "in"),
                frames_out: counter!("callkit_frames_total", "direction" => "out"),
                calls: gauge!("callkit_calls"),
                calls_opened: counter!("callkit_calls_opened_total"),
                calls_answered: counter!("callkit_calls_answered_total"),
                ring_seconds: histogram!("callkit_ring_seconds"),
                ends: labelled(
                    EndReason::ALL.map(|reason| (reason, reason.name())),
                    |name| counter!("callkit_calls_ended_total", "reason" => name),
                ),
                invite_refusals: labelled(
                    INVITE_REFUSALS,
                    |name| counter!("callkit_invites_refused_total", "reason" => name),
                ),
                channels: gauge!("callkit_channels"),
                members: gauge!("callkit_channel_members"),
                stun_answers: counter!("callkit_stun_total", "result" => "answered"),
                stun_ignored: counter!("callkit_stun_total", "result" => "ignored"),
                store_writes: counter!("callkit_store_writes_total", "result" => "written"),
                store_failures: counter!("callkit_store_writes_total", "result" => "failed"),
            }
        })
    }

    /// The page for Prometheus.
    pub(crate) fn render(&self) -> String {
        self.page.run_upkeep();
        self.page.render()
    }

    pub(crate) fn refused(&self, reason: RefuseReason) {
        if let Some(counter) = self.refusals.get(&reason) {
            counter.increment(1);
        }
    }

    pub(crate) fn ended(&self, reason: EndReason) {
        if let Some(counter) = self.ends.get(&reason) {
            counter.increment(1);
        }
    }

    pub(crate) fn invite_refused(&self, refusal: InviteRefusal) {
        if let Some(counter) = self.invite_refusals.get(&refusal) {
            counter.increment(1);
        }
    }
}

fn labelled<K: Eq + std::hash::Hash, const N: usize>(
    names: [(K, &'static str); N],
    counter: impl Fn(&'static str) -> Counter,
) -> HashMap<K, Counter> {
    names.into_iter().map(|(key, name)| (key, counter(name))).collect()
}

fn describe() {
    describe_gauge!("callkit_connections", "TCP connections that are open");
    describe_gauge!("callkit_sessions", "Devices that are signed in, those in their resume window included");
    describe_counter!("callkit_sign_ins_total", "New sessions");
    describe_counter!("callkit_resumes_total", "Sessions taken up again");
    describe_counter!("callkit_refusals_total", "Streams ended by the server, by reason");
    describe_counter!("callkit_frames_total", "Frames of signed-in devices, by direction");
    describe_gauge!("callkit_calls", "Calls that ring or are answered");
    describe_counter!("callkit_calls_opened_total", "Invites taken up");
    describe_counter!("callkit_calls_answered_total", "Calls accepted");
    describe_histogram!("callkit_ring_seconds", "From invite to accept");
    describe_counter!("callkit_calls_ended_total", "Calls over, by the caller's end reason");
    describe_counter!("callkit_invites_refused_total", "Invites not taken up, by reason");
    describe_gauge!("callkit_channels", "Channels with a member");
    describe_gauge!("callkit_channel_members", "Members of all channels");
    describe_counter!("callkit_stun_total", "Datagrams on the UDP port, by what became of them");
    describe_counter!("callkit_store_writes_total", "Calls written to the store, by result");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_of_one_process_count_apart() {
        let (one, other) = (Metering::new(), Metering::new());
        one.sign_ins.increment(2);
        one.refused(RefuseReason::TooSlow);
        one.ring_seconds.record(3.0);
        let page = one.render();
        assert!(page.contains("callkit_sign_ins_total 2"), "{page}");
        assert!(page.contains("callkit_refusals_total{reason=\"too_slow\"} 1"), "{page}");
        assert!(page.contains("callkit_ring_seconds_bucket{le=\"5\"} 1"), "{page}");
        assert!(other.render().contains("callkit_sign_ins_total 0"));
    }
}
