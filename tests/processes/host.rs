//! Starting and driving the processes.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::phone::PhoneOptions;

/// How long something that is sure to come is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `callkitd --dev`; ends when dropped.
pub struct ServerProcess {
    child: Child,
    /// `http://host:port`.
    pub url: String,
}

impl ServerProcess {
    /// Starts the server that lies beside this program. `host` is the network namespace to start it in, `listen` its address.
    pub async fn start(host: Option<&str>, listen: &str) -> Result<ServerProcess, String> {
        let mut program = std::env::current_exe().map_err(|error| error.to_string())?;
        program.set_file_name(format!("callkitd{}", std::env::consts::EXE_SUFFIX));
        let mut command = within(host, &program.to_string_lossy());
        command.args(["--dev", "--log", "warn", "--listen", listen]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("callkitd did not start: {error}"))?;
        let stdout = child.stdout.take().ok_or("callkitd has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(tcp) = line.split_whitespace().find_map(|word| word.strip_prefix("tcp=")) {
                    return Some(format!("http://{tcp}"));
                }
            }
            None
        };
        let url = timeout(PATIENCE, ready).await.ok().flatten().ok_or("callkitd did not get ready")?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(ServerProcess { child, url })
    }

    /// The process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

/// A running phone; ends when dropped.
pub struct PhoneProcess {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<Value>,
    /// Everything it has said so far.
    pub said: Vec<Value>,
}

impl PhoneProcess {
    /// Starts this program again as a phone and waits until it is signed in.
    pub async fn start(host: Option<&str>, options: &PhoneOptions) -> Result<PhoneProcess, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = within(host, &program.to_string_lossy());
        command.args(options.to_arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("the phone did not start: {error}"))?;
        let input = child.stdin.take().ok_or("the phone has no input")?;
        let stdout = child.stdout.take().ok_or("the phone has no output")?;
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut output = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = output.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(value) => drop(sender.send(value)),
                    Err(_) => eprintln!("{line}"),
                }
            }
        });
        let mut phone = PhoneProcess { name: options.user.clone(), child, input, lines, said: Vec::new() };
        phone.until("ready").await?;
        Ok(phone)
    }

    /// The process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Says a line to it.
    pub async fn tell(&mut self, line: &str) -> Result<(), String> {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.map_err(|error| format!("{} is gone: {error}", self.name))
    }

    /// Waits for the next event of this name.
    pub async fn until(&mut self, event: &str) -> Result<Value, String> {
        self.until_within(event, PATIENCE).await
    }

    /// Waits for the next event of this name, so long.
    pub async fn until_within(&mut self, event: &str, patience: Duration) -> Result<Value, String> {
        let next = async {
            while let Some(value) = self.lines.recv().await {
                self.said.push(value.clone());
                if value["event"] == event {
                    return Ok(value);
                }
                if value["event"] == "failed" {
                    return Err(format!("{}: {}", self.name, value["error"]));
                }
            }
            Err(format!("{} ended before {event}", self.name))
        };
        timeout(patience, next).await.map_err(|_| format!("{}: no {event} within {patience:?}", self.name))?
    }

    /// Ends it properly.
    pub async fn quit(mut self) -> Result<Vec<Value>, String> {
        self.tell("quit").await?;
        self.until("signed_out").await?;
        let _ = timeout(PATIENCE, self.child.wait()).await;
        Ok(self.said)
    }
}

/// The time of an event in µs.
pub fn at_us(event: &Value) -> u64 {
    event["at_us"].as_u64().unwrap_or_default()
}

/// A command that runs a program, in a network namespace if one is named.
fn within(host: Option<&str>, program: &str) -> Command {
    match host {
        None => Command::new(program),
        Some(host) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &format!("nl-{host}"), program]);
            command
        }
    }
}

/// CPU time a process has used so far, user and system, in ms.
pub fn cpu_ms(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // The kernel's unit here is always 1/100 s.
    Some(ticks * 10)
}

/// A figure of `/proc/<id>/status` in KiB, such as VmHWM (peak) or VmRSS.
pub fn memory_kib(id: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
