//! What is counted, for Prometheus. Each server has its own registry, so that several can live in one process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::ring::InviteRefusal;
use call_protocol::session::RefuseReason;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

mod table;

use crate::limits::Limit;
use crate::log_lines;
use crate::token::AuthFailure;
use table::{DECLARED, Kind};

/// The handles of one server's metrics.
pub(crate) struct Metering {
    page: PrometheusHandle,
    recorder: Arc<PrometheusRecorder>,
    process: Collector,
    pub(crate) ready: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_limited: Counter,
    pub(crate) handshakes_done: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) handshakes_timed_out: Counter,
    pub(crate) certificates_taken: Counter,
    pub(crate) certificates_refused: Counter,
    /// By class of status: 2xx to 5xx.
    requests: [Counter; 4],
    pub(crate) streams: Gauge,
    auth_failures: HashMap<&'static str, Counter>,
    limited: HashMap<Limit, Counter>,
    pub(crate) limit_keys: Gauge,
    pub(crate) shed_sign_ins: Counter,
    pub(crate) shed_invites: Counter,
    pub(crate) gate_turns: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) hub_queue: Gauge,
    pub(crate) hub_delay: Histogram,
    store_seconds: Histogram,
    store_up: Gauge,
    store_works: AtomicBool,
    pub(crate) sessions: Gauge,
    pub(crate) sign_ins: Counter,
    pub(crate) cc_sign_ins: Counter,
    pub(crate) webhooks_delivered: Counter,
    pub(crate) webhooks_given_up: Counter,
    pub(crate) pushes_taken: Counter,
    pub(crate) pushes_given_up: Counter,
    pub(crate) declines_done: Counter,
    pub(crate) declines_late: Counter,
    pub(crate) declines_refused: Counter,
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
    log_lines_lost: Counter,
    store_writes: Counter,
    store_failures: Counter,
}

const REFUSALS: [(RefuseReason, &str); 12] = [
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
    (RefuseReason::SignedOut, "signed_out"),
];

const INVITE_REFUSALS: [(InviteRefusal, &str); 5] = [
    (InviteRefusal::UnknownUser, "unknown_user"),
    (InviteRefusal::Invalid, "invalid"),
    (InviteRefusal::TooMany, "too_many"),
    (InviteRefusal::Overloaded, "overloaded"),
    (InviteRefusal::TokenExpired, "token_expired"),
];

/// Bounds of the ring time's buckets, in s.
const RING_SECONDS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

/// Bounds of the hub's delay, in s.
const HUB_SECONDS: [f64; 9] = [0.000_1, 0.000_5, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0];
/// Bounds of the time a commit takes, in s.
const STORE_SECONDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

impl Metering {
    pub(crate) fn new() -> Self {
        let bounds: [(&str, &[f64]); 3] = [
            ("callkit_ring_seconds", &RING_SECONDS),
            ("callkit_hub_delay_seconds", &HUB_SECONDS),
            ("callkit_store_seconds", &STORE_SECONDS),
        ];
        let builder = bounds.into_iter().fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            let buckets = builder.set_buckets_for_metric(Matcher::Full(name.into()), bounds);
            buckets.expect("the list of buckets is not empty")
        });
        let recorder = Arc::new(builder.build_recorder());
        let handshakes = |result| counter!("callkit_tls_handshakes_total", "result" => result);
        let reloads = |result| counter!("callkit_tls_reloads_total", "result" => result);
        metrics::with_local_recorder(&*recorder, || {
            describe();
            gauge!("callkit_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            gauge!("callkit_workers").set(workers() as f64);
            let store_up = gauge!("callkit_store_up");
            store_up.set(1.0);
            Self {
                page: recorder.handle(),
                recorder: Arc::clone(&recorder),
                process: Collector::default(),
                ready: gauge!("callkit_ready"),
                connections: gauge!("callkit_connections"),
                connections_accepted: counter!("callkit_connections_total", "result" => "accepted"),
                connections_limited: counter!("callkit_connections_total", "result" => "limited"),
                handshakes_done: handshakes("done"),
                handshakes_failed: handshakes("failed"),
                handshakes_timed_out: handshakes("timed_out"),
                certificates_taken: reloads("taken"),
                certificates_refused: reloads("refused"),
                requests: ["2xx", "3xx", "4xx", "5xx"]
                    .map(|class| counter!("callkit_http_requests_total", "status" => class)),
                streams: gauge!("callkit_streams"),
                auth_failures: labelled(
                    AuthFailure::ALL.map(|failure| (failure.name(), failure.name())),
                    |name| counter!("callkit_auth_failures_total", "reason" => name),
                ),
                limited: labelled(
                    Limit::ALL.map(|limit| (limit, limit.name())),
                    |name| counter!("callkit_limited_total", "limit" => name),
                ),
                limit_keys: gauge!("callkit_limit_keys"),
                shed_sign_ins: counter!("callkit_shed_total", "what" => "sign_in"),
                shed_invites: counter!("callkit_shed_total", "what" => "invite"),
                gate_turns: counter!("callkit_gate_turns_total"),
                frames_dropped: counter!("callkit_frames_dropped_total"),
                hub_queue: gauge!("callkit_hub_queue"),
                hub_delay: histogram!("callkit_hub_delay_seconds"),
                store_seconds: histogram!("callkit_store_seconds"),
                store_up,
                store_works: AtomicBool::new(true),
                sessions: gauge!("callkit_sessions"),
                sign_ins: counter!("callkit_sign_ins_total"),
                webhooks_delivered: counter!("callkit_webhooks_total", "result" => "delivered"),
                webhooks_given_up: counter!("callkit_webhooks_total", "result" => "given_up"),
                pushes_taken: counter!("callkit_pushes_total", "result" => "taken"),
                pushes_given_up: counter!("callkit_pushes_total", "result" => "given_up"),
                declines_done: counter!("callkit_http_declines_total", "result" => "declined"),
                declines_late: counter!("callkit_http_declines_total", "result" => "released"),
                declines_refused: counter!("callkit_http_declines_total", "result" => "refused"),
                cc_sign_ins: counter!("callkit_cc_sign_ins_total"),
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
                log_lines_lost: counter!("callkit_log_lines_lost_total"),
                store_writes: counter!("callkit_store_writes_total", "result" => "written"),
                store_failures: counter!("callkit_store_writes_total", "result" => "failed"),
            }
        })
    }

    /// The page for Prometheus.
    pub(crate) fn render(&self) -> String {
        metrics::with_local_recorder(&*self.recorder, || self.process.collect());
        self.log_lines_lost.absolute(log_lines::lost());
        self.upkeep();
        self.page.render()
    }

    /// Puts the samples of histograms into their buckets; without it they wait in memory until somebody asks for the page.
    pub(crate) fn upkeep(&self) {
        self.page.run_upkeep();
    }

    /// The store has written the changes of so many calls, or has failed to.
    pub(crate) fn store_committed(&self, calls: u64, took: Duration, is_written: bool) {
        let counter = if is_written { &self.store_writes } else { &self.store_failures };
        counter.increment(calls);
        self.store_seconds.record(took);
        self.store_up.set(if is_written { 1.0 } else { 0.0 });
        self.store_works.store(is_written, Ordering::Relaxed);
    }

    /// Whether the last commit, if there was one, succeeded.
    pub(crate) fn store_works(&self) -> bool {
        self.store_works.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        self.requests[class].increment(1);
    }

    pub(crate) fn auth_failed(&self, failure: AuthFailure) {
        if let Some(counter) = self.auth_failures.get(failure.name()) {
            counter.increment(1);
        }
    }

    pub(crate) fn limited(&self, limit: Limit) {
        if let Some(counter) = self.limited.get(&limit) {
            counter.increment(1);
        }
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
    for metric in &DECLARED {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

fn workers() -> usize {
    tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_workers())
}

#[cfg(test)]
mod tests {
    use super::table::Declared;
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
    /// The page with everything on it: histograms come only once they have a sample.
    fn full_page() -> String {
        let metering = Metering::new();
        metering.ring_seconds.record(1.0);
        metering.hub_delay.record(0.001);
        metering.store_seconds.record(0.01);
        metering.render()
    }

    #[test]
    fn the_page_holds_what_is_declared_and_nothing_else() {
        let page = full_page();
        let kinds: HashMap<_, _> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect();
        for metric in &DECLARED {
            let kind = kinds.get(metric.name).map(String::as_str);
            // What the system does not tell about a process is not on the page.
            if kind.is_none() && metric.name.starts_with("process_") {
                continue;
            }
            assert_eq!(kind, Some(metric.kind.name()), "{}", metric.name);
            let help = format!("# HELP {} {}", metric.name, metric.help);
            assert!(page.lines().any(|line| line == help), "no {help:?}");
            let mut samples = page.lines().filter(|line| line.starts_with(&format!("{}{{", metric.name)));
            let labelled = samples.all(|line| line.contains(&format!("{{{}=", metric.label)));
            assert!(labelled, "{} has another label than {:?}", metric.name, metric.label);
        }
        for name in kinds.keys() {
            assert!(DECLARED.iter().any(|metric| metric.name == name), "{name} is not declared");
        }
        assert!(DECLARED.len() >= 30);
    }

    #[test]
    fn the_documentation_has_the_table() {
        let documentation = include_str!("../../../docs/operations.md");
        for Declared { name, kind, label, help } in &DECLARED {
            let label = if label.is_empty() { String::new() } else { format!("`{label}`") };
            let line = format!("| `{name}` | {} | {label} | {help} |", kind.name());
            assert!(documentation.lines().any(|said| said == line), "docs/operations.md lacks\n{line}");
        }
        let told =
            documentation.lines().filter(|line| line.starts_with("| `callkit_") || line.starts_with("| `process_"));
        assert_eq!(told.count(), DECLARED.len(), "docs/operations.md has a metric that is not declared");
    }
}
