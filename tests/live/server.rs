//! This program as the server, for tests that are built without `callkitd`.

use std::io::Write;

use callkit_server::{Server, ServerConfig};
use serde_json::{Map, Value};
use tests::processes::host::AS_SERVER;

/// Runs the server until the process is killed, if the arguments of this process ask for it. It takes the flags of `callkitd`, each with
/// a value.
pub(crate) fn run_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, flags)) if first == AS_SERVER => {
            if let Err(error) = serve(flags) {
                eprintln!("server: {error}");
            }
            std::process::exit(1);
        }
        _ => {}
    }
}

fn serve(flags: &[String]) -> Result<(), String> {
    let config = ServerConfig::load(None, keys(flags)).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let server = Server::start(config).await.map_err(|error| error.to_string())?;
        // Nobody may be reading.
        let _ = writeln!(std::io::stdout(), "callkitd ready tcp={} udp={}", server.local_addr(), server.udp_addr());
        std::future::pending::<Result<(), String>>().await
    })
}

fn keys(flags: &[String]) -> Map<String, Value> {
    let (mut keys, mut words) = (Map::new(), flags.iter().peekable());
    while let Some(flag) = words.next() {
        let value = words.next_if(|word| !word.starts_with("--")).cloned().map_or(Value::Bool(true), Value::String);
        keys.insert(flag.trim_start_matches('-').replace('-', "_"), value);
    }
    keys
}
