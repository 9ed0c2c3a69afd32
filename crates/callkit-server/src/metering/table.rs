//! Every metric: its kind, its labels and what it counts. The page, its help texts and `docs/operations.md` are held against this table.

/// What Prometheus calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The label, if it has one.
    #[cfg_attr(not(test), expect(dead_code, reason = "the labels are where the metric is made; tests compare them"))]
    pub(crate) label: &'static str,
    pub(crate) help: &'static str,
}

const fn gauge(name: &'static str, label: &'static str, help: &'static str) -> Declared {
    Declared { name, kind: Kind::Gauge, label, help }
}

const fn counter(name: &'static str, label: &'static str, help: &'static str) -> Declared {
    Declared { name, kind: Kind::Counter, label, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Declared {
    Declared { name, kind: Kind::Histogram, label: "", help }
}

/// The metrics, in the order of the documentation.
pub(crate) const DECLARED: [Declared; 47] = [
    gauge("callkit_build_info", "version", "1, with the version of the server"),
    gauge("callkit_ready", "", "1 while sign-ins are taken, else 0"),
    gauge("callkit_connections", "", "TCP connections that are open"),
    counter("callkit_connections_total", "result", "TCP connections accepted, and closed at once for a limit"),
    counter("callkit_tls_handshakes_total", "result", "TLS handshakes done, failed, and given up for their slowness"),
    counter("callkit_tls_reloads_total", "result", "Certificates taken up while running, and those refused"),
    counter("callkit_http_requests_total", "status", "HTTP requests answered, by class of status"),
    gauge("callkit_streams", "", "Streams of apps that are signed in"),
    gauge("callkit_sessions", "", "Devices that are signed in, those in their resume window included"),
    counter("callkit_sign_ins_total", "", "New sessions"),
    counter("callkit_cc_sign_ins_total", "", "New sessions for one call, by its cc_param"),
    counter(
        "callkit_http_declines_total",
        "result",
        "Calls declined over HTTP, those that were over, and requests refused",
    ),
    counter("callkit_webhooks_total", "result", "Webhooks delivered, and given up"),
    counter("callkit_pushes_total", "result", "Pushes taken by their service, and given up"),
    counter("callkit_resumes_total", "", "Sessions taken up again"),
    counter("callkit_auth_failures_total", "reason", "Tokens and cc_params not taken, by reason"),
    counter("callkit_refusals_total", "reason", "Streams ended by the server, by reason"),
    counter("callkit_limited_total", "limit", "Requests refused because a limit was met, by limit"),
    gauge("callkit_limit_keys", "", "Addresses, users and devices that limits remember"),
    counter("callkit_shed_total", "what", "Sign-ins and invites refused because the server is overloaded"),
    counter("callkit_gate_turns_total", "", "Sign-ins and invites that waited for their turn as new work"),
    counter("callkit_frames_total", "direction", "Frames of signed-in devices, by direction"),
    counter(
        "callkit_frames_dropped_total",
        "",
        "Frames for which there was no room, as their device acknowledges too little",
    ),
    gauge("callkit_hub_queue", "", "Frames that wait for the hub"),
    histogram("callkit_hub_delay_seconds", "How long the longest-waiting frame of a batch waited for the hub"),
    gauge("callkit_calls", "", "Calls that ring or are answered"),
    counter("callkit_calls_opened_total", "", "Invites taken up"),
    counter("callkit_calls_answered_total", "", "Calls accepted"),
    histogram("callkit_ring_seconds", "From invite to accept"),
    counter("callkit_calls_ended_total", "reason", "Calls over, by the caller's end reason"),
    counter("callkit_invites_refused_total", "reason", "Invites not taken up, by reason"),
    gauge("callkit_channels", "", "Channels with a member"),
    gauge("callkit_channel_members", "", "Members of all channels"),
    counter("callkit_stun_total", "result", "Datagrams on the UDP port, by what became of them"),
    counter("callkit_store_writes_total", "result", "Calls written to the store, by result"),
    histogram("callkit_store_seconds", "How long a commit of the store took"),
    gauge("callkit_store_up", "", "1 while the last commit of the store succeeded, else 0"),
    counter("callkit_log_lines_lost_total", "", "Log lines of the process that could not be written"),
    gauge("callkit_workers", "", "Threads that run the server's tasks"),
    counter("process_cpu_seconds_total", "", "User and system CPU time of the process, in s"),
    gauge("process_open_fds", "", "Open file descriptors"),
    gauge("process_max_fds", "", "File descriptors that may be open"),
    gauge("process_resident_memory_bytes", "", "Memory in use"),
    gauge("process_virtual_memory_bytes", "", "Address space in use"),
    gauge("process_virtual_memory_max_bytes", "", "Address space that may be in use"),
    gauge("process_start_time_seconds", "", "When the process started, in s since 1970"),
    gauge("process_threads", "", "Threads of the process"),
];
