//! `callkitd`: the call server as a program.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use callkit_server::{
    BackupError, ConfigError, Failed, IgnoredVariables, LogFormat, LogLines, Server, ServerConfig, StartError,
};
use clap::Parser;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

const ABOUT: &str = "\
The server of the call kit: sign-in, ringing, routing and channels on one TCP port, STUN on one UDP port.

Each option can also be a key of the TOML file (with `_` for `-`) or an environment variable (CALLKITD_LISTEN for
--listen). Options win over the environment, the environment over the file. Apps and their secrets are told in the file:

    [[apps]]
    app_id  = \"shop\"          # the tokens' sub
    api_key = \"key-1\"         # the tokens' iss
    secret  = \"…\"             # signs the tokens with HS256; 16 bytes or more

or in CALLKITD_APPS='[{app_id=\"shop\",api_key=\"key-1\",secret=\"…\"}]'. Only there, too:

    server_secret = [\"…\"]    # what the server itself signs with, 32 bytes or more; else one is made and kept in data_dir

    [limits]                  # how much anybody may ask for; docs/operations.md lists the keys
    trusted_addresses = [\"127.0.0.0/8\", \"::1/128\"]

When it serves, it prints one line: `callkitd ready tcp=ADDRESS udp=ADDRESS`. SIGTERM and ctrl-c stop it cleanly, SIGHUP takes up a
new certificate. `callkitd check-config` tells whether it could start, `callkitd backup FILE` copies its store while it runs.";

/// What the program is told.
#[derive(Parser)]
#[command(name = "callkitd", version, about = "The server of the call kit", long_about = ABOUT)]
struct Options {
    /// TOML file to read [env: CALLKITD_CONFIG]
    #[arg(long, value_name = "FILE", env = "CALLKITD_CONFIG", hide_env = true, global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    keys: Keys,
}

/// What else it can do than serve.
#[derive(clap::Subcommand)]
enum Command {
    /// Tell whether the server could start with this configuration, and what in it is doubtful; start nothing
    CheckConfig,
    /// Copy the store of the server that runs with this configuration to a new file, while it goes on
    Backup {
        /// Where to write the copy; what is there already is not overwritten
        file: PathBuf,
    },
}

/// The keys of the configuration; what is not given is left to the other sources.
#[derive(clap::Args, Serialize)]
struct Keys {
    // No documentation comment: rustdoc would take the address for a link.
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "TCP address for gRPC and HTTP; port 0 takes a free one, [::] is everybody [default: [::]:7450; with --dev 127.0.0.1:7450]"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,

    /// UDP address that answers STUN [default: that of --listen]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    stun_listen: Option<SocketAddr>,

    /// Name or address under which clients reach the UDP port; needed behind NAT or a proxy [default: the one they connected to]
    #[arg(long, value_name = "HOST")]
    #[serde(skip_serializing_if = "Option::is_none")]
    public_host: Option<String>,

    /// Add the app `demo` and a backend for it under /dev/: register, tokens, user map. For this machine and private networks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<bool>,

    /// Let --dev listen on every address, or on a public one; whoever reaches it can register. Not for the open internet
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_public: Option<bool>,

    /// Folder in which running calls are kept across restarts [default: ./callkit-data; with --dev none]
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,

    /// PEM file with the certificate; the TCP port then speaks TLS only [default: plain text]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the private key of --tls-cert
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,

    /// How long a server that is to stop goes on serving the calls it has, in ms [default: 0]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_ms: Option<u32>,

    /// How often clients are told to ping, in ms [default: 3000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ping_every_ms: Option<u32>,

    /// After how much silence a stream is given up, in ms [default: 10000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    silence_limit_ms: Option<u32>,

    /// How long a broken session can be resumed, in ms [default: 15000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_window_ms: Option<u32>,

    /// How long a new connection may take to say who it is, in ms [default: 5000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    hello_timeout_ms: Option<u32>,

    /// How long an acknowledgement may wait for a frame to ride on, in ms [default: 200]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_delay_ms: Option<u32>,

    /// How long a refused or stopped peer may take to read the last frame, in ms [default: 1000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    close_grace_ms: Option<u32>,

    /// After how much silence a party of a call is out of reach, in ms [default: 10000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    call_liveness_ms: Option<u32>,

    /// How long a call that is over answers late messages, in ms [default: 60000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    call_tombstone_ms: Option<u32>,

    /// By how much a token's end may be past, for clocks that differ, in s [default: 5]
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_leeway_s: Option<u32>,

    /// TCP connections at one time; more wait to be accepted [default: 100000]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<usize>,

    /// Calls that one device may have opened at one time [default: 16]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_calls_per_device: Option<usize>,

    /// Channels that one device may be in at one time [default: 16]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_channels_per_device: Option<usize>,

    /// How the log is written to standard error: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<String>,

    /// What is logged, such as info, or warn,callkit_server=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("log: {0}")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("there is no data_dir, and so nothing to copy")]
    NoData,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("cannot run: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error("told to stop again: ended without waiting for anybody")]
    Hurried,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(format_args!("{failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something to whoever started the program. Nobody may be listening.
fn say(what: fmt::Arguments<'_>) {
    writeln!(std::io::stdout(), "callkitd{what}").ok();
}

fn complain(what: fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "callkitd: {what}").ok();
}

fn run(options: Options) -> Result<(), Failure> {
    let config = configured(&options)?;
    let filter = EnvFilter::try_new(&config.log)?;
    match options.command {
        Some(Command::CheckConfig) => {
            Server::check(&config)?;
            let unknown = ServerConfig::ignored_variables().unknown;
            let unknown = unknown.into_iter().map(|name| format!("the variable {name} is no key and is ignored"));
            for doubt in Server::doubts(&config).into_iter().chain(unknown) {
                complain(format_args!("doubtful: {doubt}"));
            }
            say(format_args!(": the configuration is good"));
            return Ok(());
        }
        Some(Command::Backup { file }) => {
            let data_dir = config.data_dir.as_deref().ok_or(Failure::NoData)?;
            callkit_server::backup(data_dir, &file)?;
            say(format_args!(": the store is copied"));
            return Ok(());
        }
        None => {}
    }
    let (lines, _last_lines) = LogLines::to(std::io::stderr())?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(lines);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(config));
    // Whatever still reads or resolves a name for somebody is not waited for.
    runtime.shutdown_background();
    ended
}

/// The configuration; the program, unlike the library, has a place for its data.
fn configured(options: &Options) -> Result<ServerConfig, ConfigError> {
    let mut config = ServerConfig::load(options.config.as_deref(), &options.keys)?;
    if config.data_dir.is_none() && !config.dev {
        config.data_dir = Some("callkit-data".into());
    }
    Ok(config)
}

async fn serve(config: ServerConfig) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let IgnoredVariables { unknown, of_kubernetes } = ServerConfig::ignored_variables();
    for name in unknown {
        warn!(name, "the variable is no key and is ignored");
    }
    if !of_kubernetes.is_empty() {
        info!(names = of_kubernetes.join(" "), "variables that Kubernetes sets for a service are ignored");
    }
    let server = Server::start(config).await?;
    say(format_args!(" ready tcp={} udp={}", server.local_addr(), server.udp_addr()));
    run_until_stopped(server, &mut signals).await
}

/// What the system tells the program.
struct Signals {
    stop: StopSignals,
    hang_up: Signal,
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let stop =
            StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { stop, hang_up: signal(SignalKind::hangup())? })
    }
}

impl StopSignals {
    /// Waits until the program is told to stop; cancel safe.
    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn run_until_stopped(server: Server, signals: &mut Signals) -> Result<(), Failure> {
    let mut failed = std::pin::pin!(server.failed());
    let mut failure = loop {
        tokio::select! {
            failure = &mut failed => break Some(failure),
            () = signals.stop.come() => break None,
            _ = signals.hang_up.recv() => server.reload(),
        }
    };
    if failure.is_none() {
        failure = tokio::select! {
            failure = &mut failed => Some(failure),
            () = server.drain() => None,
            () = signals.stop.come() => None,
        };
    }
    let stopping = async {
        tokio::select! {
            () = server.stop() => Ok(()),
            () = signals.stop.come() => Err(Failure::Hurried),
        }
    };
    match failure {
        None => stopping.await,
        Some(failure) => {
            timeout(LAST_GRACE, stopping).await.ok();
            Err(failure.into())
        }
    }
}

/// How long a server that has failed may take to say goodbye and to write what it knows.
const LAST_GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use callkit_server::Part;
    use clap::CommandFactory;

    #[test]
    fn help_names_every_key_with_its_default() {
        Options::command().debug_assert();
        let help = Options::command().term_width(0).render_long_help().to_string();
        let defaults = serde_json::to_value(ServerConfig::default()).unwrap();
        for (key, value) in defaults.as_object().unwrap() {
            // Secrets are not for a command line, which everybody on the machine can read; the limits are a table of their own.
            if let "apps" | "server_secret" | "limits" = key.as_str() {
                assert!(["[[apps]]", "server_secret =", "[limits]"].iter().all(|said| help.contains(said)));
                continue;
            }
            let flag = key.replace('_', "-");
            // With or without a word behind it.
            let mut ways = [format!("      --{flag} "), format!("      --{flag}[")].into_iter();
            let line = ways.find_map(|way| help.split(&way).nth(1)).unwrap_or_else(|| panic!("no --{flag} in\n{help}"));
            let default = match value {
                serde_json::Value::Null | serde_json::Value::Bool(false) => continue,
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert!(line.contains(&format!("[default: {default}")), "{flag}does not say {default}\n{help}");
        }
    }

    #[tokio::test]
    async fn a_server_that_has_lost_a_part_ends_the_program() {
        let server = Server::start(ServerConfig::dev_on_loopback()).await.unwrap();
        server.lose(Part::Hub);
        let mut signals = Signals::new().unwrap();
        let ended = run_until_stopped(server, &mut signals);
        let ended = timeout(Duration::from_secs(30), ended).await.expect("it ends by itself");
        assert!(matches!(ended, Err(Failure::Failed(Failed { part: Part::Hub, .. }))), "{ended:?}");
    }

    #[test]
    fn what_is_given_counts_and_what_is_not_is_left_alone() {
        let options = |words: &[&str]| Options::parse_from(["callkitd"].iter().chain(words));
        let config = configured(&options(&["--dev", "--ack-delay-ms", "9", "--log-format", "json"])).unwrap();
        assert!(config.dev && config.ack_delay_ms == 9 && config.log_format == LogFormat::Json);
        assert!(config.listen.ip().is_loopback() && config.data_dir.is_none());
        let config = configured(&options(&[])).unwrap();
        assert!(!config.dev && config.listen.ip().is_unspecified() && config.data_dir.is_some());
        let said = configured(&options(&["--log-format", "xml"])).unwrap_err().to_string();
        assert!(said.contains("log_format"), "{said}");
    }
}
