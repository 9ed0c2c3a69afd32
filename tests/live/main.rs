//! `live`: what happens to calls of real processes when processes, networks and machines fail.
//!
//! Run through `cargo xtask live`. Every scenario starts its own server and phones, breaks something, and prints figures and promises.
//! A figure misses its aim without harm; a broken promise makes the program fail.

mod report;
mod room;
mod server;

mod asleep;
mod pushed;
mod callee_killed;
mod caller_killed;
mod half_open;
mod many_devices;
mod moved;
mod server_killed;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tests::processes::netlab;

use report::Report;
use room::Setting;

/// What happens to calls of real processes when processes, networks and machines fail.
#[derive(Parser)]
#[command(name = "live")]
struct Options {
    /// Which scenarios; all where none is named
    scenario: Vec<Scenario>,
    /// Fewer rounds and only what needs no network laboratory: less than a minute
    #[arg(long)]
    short: bool,
    /// This program itself is the server, instead of the callkitd beside it
    #[arg(long, hide = true)]
    own_server: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The server is killed in mid-call and started again
    ServerKilled,
    /// The caller is killed while three devices of the callee ring
    CallerKilled,
    /// The callee is killed in mid-call; it comes back or it does not
    CalleeKilled,
    /// Ten devices of one user ring and one answers
    ManyDevices,
    /// The same with 50 ms each way between everybody and the server
    ManyDevicesFar,
    /// One side gets another address, or its router another port, in mid-call
    Moved,
    /// Nothing of one phone's TCP connection gets through for a while
    HalfOpen,
    /// A phone is stopped for a while and goes on
    Asleep,
    /// Who is called is not connected: a push wakes the app, in time or late, or nobody wakes it
    Pushed,
}

impl Scenario {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn what(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whether it belongs to the short run.
    fn is_short(self) -> bool {
        match self {
            Scenario::ServerKilled
            | Scenario::CallerKilled
            | Scenario::CalleeKilled
            | Scenario::ManyDevices
            | Scenario::HalfOpen
            | Scenario::Pushed => true,
            Scenario::ManyDevicesFar | Scenario::Moved | Scenario::Asleep => false,
        }
    }

    /// The laboratory that it needs.
    fn lab(self, short: bool) -> Option<Value> {
        let hosts = match self {
            Scenario::ManyDevicesFar => {
                let far = json!({ "up": { "delay": 50 } });
                json!({ "alice": far, "bob": far, "server": far })
            }
            Scenario::Moved => {
                let near = json!({ "up": { "delay": 10 } });
                // The server is the third: it has the address by which it is called.
                json!({ "alice": near, "bob": near, "server": {}, "zoe": { "nat": "cone", "up": { "delay": 10 } } })
            }
            Scenario::HalfOpen if short => return None,
            Scenario::HalfOpen => json!({ "alice": {}, "bob": {}, "server": {} }),
            Scenario::ServerKilled
            | Scenario::CallerKilled
            | Scenario::CalleeKilled
            | Scenario::ManyDevices
            | Scenario::Asleep
            | Scenario::Pushed => return None,
        };
        Some(json!({ "seed": 1, "hosts": hosts }))
    }

    async fn run(self, setting: &Setting) -> Result<Report, String> {
        match self {
            Scenario::ServerKilled => server_killed::run(setting).await,
            Scenario::CallerKilled => caller_killed::run(setting).await,
            Scenario::CalleeKilled => callee_killed::run(setting).await,
            Scenario::ManyDevices | Scenario::ManyDevicesFar => many_devices::run(setting).await,
            Scenario::Moved => moved::run(setting).await,
            Scenario::HalfOpen => half_open::run(setting).await,
            Scenario::Asleep => asleep::run(setting).await,
            Scenario::Pushed => pushed::run(setting).await,
        }
    }
}

fn main() -> ExitCode {
    tests::processes::phone::run_if_asked();
    tests::processes::handset::run_if_asked();
    server::run_if_asked();
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let chosen = if options.scenario.is_empty() { Scenario::value_variants() } else { &options.scenario };
    let named = !options.scenario.is_empty();
    let mut broken = Vec::new();
    for scenario in chosen.iter().filter(|scenario| named || !options.short || scenario.is_short()) {
        if !kept(&runtime, *scenario, &options) {
            broken.push(scenario.name());
        }
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    // The outermost program names them once more, below everything else.
    if !netlab::is_inside() {
        eprintln!("\nbroken promises: {}", broken.join(", "));
    }
    ExitCode::FAILURE
}

/// Runs a scenario, prints what came out, and says whether every promise was kept.
fn kept(runtime: &tokio::runtime::Runtime, scenario: Scenario, options: &Options) -> bool {
    if let (Some(lab), false) = (scenario.lab(options.short), netlab::is_inside()) {
        if let Some(obstacle) = netlab::obstacle() {
            println!("\n{}: not run: {obstacle}", scenario.name());
            return true;
        }
        let mut words = vec![scenario.name()];
        words.extend(options.short.then(|| "--short".to_owned()));
        words.extend(options.own_server.then(|| "--own-server".to_owned()));
        return netlab::run_in_lab(&words, &lab).unwrap_or_else(|error| {
            println!("  BROKEN  {error}");
            false
        });
    }
    println!("\n{}: {}", scenario.name(), scenario.what());
    let setting = Setting { short: options.short, own_server: options.own_server, inside: netlab::is_inside() };
    match runtime.block_on(scenario.run(&setting)) {
        Ok(report) => report.print(),
        Err(error) => {
            println!("  BROKEN  {error}");
            false
        }
    }
}
