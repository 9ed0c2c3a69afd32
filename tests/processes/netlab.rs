//! Bad networks between namespaces of one machine: this program again, inside a laboratory.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// The network laboratory, a Python program that joins namespaces with the network that is wanted.
const NETLAB: &str = include_str!("netlab.py");
/// Set for a program that runs inside a laboratory.
const INSIDE: &str = "CALLKIT_INSIDE_NETLAB";

/// The addresses the laboratory gives to its hosts, in the order in which they are named.
pub const SERVER_ADDRESS: &str = "198.18.0.3";

/// Whether this program runs inside a laboratory.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Why no laboratory can be built here, if so.
pub fn obstacle() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("bad networks between namespaces exist on Linux only");
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun");
    }
    // Only root may make namespaces; a write into this folder is the simplest sign of it.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Some("namespaces need root");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("the command `ip` (iproute2) is missing");
    }
    None
}

/// Runs this program again with these arguments where phones `alice` and `bob` and the `server` are hosts of their own. What a phone
/// sends takes `delay_ms` and is lost with probability `loss`, whoever it is for.
pub fn run_inside(arguments: &[String], delay_ms: u32, loss: f64) -> Result<bool, String> {
    let up = json!({ "up": { "delay": delay_ms, "loss": loss } });
    run_in_lab(arguments, &json!({ "seed": 1, "hosts": { "alice": up, "bob": up, "server": {} } }))
}

/// Runs this program again with these arguments in a laboratory as `netlab.py` describes it.
pub fn run_in_lab(arguments: &[String], lab: &Value) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| -> Result<PathBuf, String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path)
    };
    let (netlab, lab) = (write("netlab.py", NETLAB)?, write("lab.json", &lab.to_string())?);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("python3")
        .arg(netlab)
        .arg("run")
        .arg(lab)
        .arg("--")
        .arg(program)
        .args(arguments)
        .env(INSIDE, "1")
        .stderr(std::process::Stdio::inherit())
        .status()
        .map_err(|error| format!("python3 did not start: {error}"))?;
    Ok(status.success())
}

/// Changes a host of the laboratory around this program: `set("alice", "link=false")`. It is in force a moment later.
pub fn set(host: &str, change: &str) -> Result<(), String> {
    let control = std::env::var_os("NETLAB_SOCKET").ok_or("there is no laboratory around this program")?;
    let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
    socket.send_to(format!("{host} {change}").as_bytes(), control).map_err(|error| error.to_string())?;
    Ok(())
}
