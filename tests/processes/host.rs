//! Starting and driving the processes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::handset::HandsetOptions;
use super::phone::PhoneOptions;

/// How long something that is sure to come is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server process is to be.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// The network namespace to start it in.
    pub host: Option<&'static str>,
    /// Its address.
    pub listen: String,
    /// Where it keeps running calls; nowhere if that is not said.
    pub data_dir: Option<PathBuf>,
    /// This program again, as [`AS_SERVER`] asks it, instead of the `callkitd` beside it.
    pub itself: bool,
    /// Where the app's backend hears of calls that ring, if it does.
    pub notify_url: Option<String>,
}

/// The first argument that makes a program the server, where it can be one.
pub const AS_SERVER: &str = "--as-server";

/// A running `callkitd --dev`; ends when dropped.
pub struct ServerProcess {
    child: Child,
    options: ServerOptions,
    /// `http://host:port`.
    pub url: String,
    /// When it said that it serves, in µs of the wall clock.
    pub ready_us: u64,
}

/// The app `demo`: its secrets are the same at each start, so that tokens outlive the server.
fn apps(notify_url: Option<&str>) -> String {
    let webhooks = notify_url.map_or_else(String::new, |url| {
        format!(r#",webhooks={{notify_url="{url}",secrets=["only for webhooks of tests"]}}"#)
    });
    format!(r#"[{{app_id="demo",api_key="processes",secret="only for servers of tests"{webhooks}}}]"#)
}

impl ServerProcess {
    /// Starts the server that lies beside this program. `host` is the network namespace to start it in, `listen` its address.
    pub async fn start(host: Option<&'static str>, listen: &str) -> Result<ServerProcess, String> {
        ServerProcess::with(ServerOptions { host, listen: listen.to_owned(), ..ServerOptions::default() }).await
    }

    /// Starts the server that lies beside this program, or this program as one.
    pub async fn with(mut options: ServerOptions) -> Result<ServerProcess, String> {
        let mut program = std::env::current_exe().map_err(|error| error.to_string())?;
        if !options.itself {
            program.set_file_name(format!("callkitd{}", std::env::consts::EXE_SUFFIX));
        }
        let mut command = within(options.host, &program.to_string_lossy());
        command.args(options.itself.then_some(AS_SERVER));
        // That others could reach a server of development is meant here, and need not be said in the midst of a table.
        let log = "warn,callkit_server::server=error";
        command
            .args(["--dev", "--dev-public", "--log", log, "--listen", &options.listen])
            .env("CALLKITD_APPS", apps(options.notify_url.as_deref()));
        if let Some(folder) = &options.data_dir {
            command.arg("--data-dir").arg(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("callkitd did not start: {error}"))?;
        let stdout = child.stdout.take().ok_or("callkitd has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(tcp) = line.split_whitespace().find_map(|word| word.strip_prefix("tcp=")) {
                    return Some(tcp.to_owned());
                }
            }
            None
        };
        let address = timeout(PATIENCE, ready).await.ok().flatten().ok_or("callkitd did not get ready")?;
        let ready_us = now_us();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}");
        // Started again it is to be found at the same address.
        options.listen = address;
        Ok(ServerProcess { child, options, url, ready_us })
    }

    /// The process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it, as `kill -9` does, and gives what it takes to start it again.
    pub async fn kill(mut self) -> Result<ServerOptions, String> {
        self.child.kill().await.map_err(|error| error.to_string())?;
        Ok(self.options)
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
        PhoneProcess::spawn(host, &options.user, options.to_arguments()).await
    }

    /// Starts this program again as a handset, which signs in only for a call.
    pub async fn handset(options: &HandsetOptions) -> Result<PhoneProcess, String> {
        PhoneProcess::spawn(None, &options.user, options.to_arguments()).await
    }

    async fn spawn(host: Option<&str>, name: &str, arguments: Vec<String>) -> Result<PhoneProcess, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = within(host, &program.to_string_lossy());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
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
        let mut phone = PhoneProcess { name: name.to_owned(), child, input, lines, said: Vec::new() };
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
        let outcome = timeout(patience, next).await;
        outcome.map_err(|_| self.waited_for(event, patience))?
    }

    /// Waits until something like this has been said, by whatever it has said since `since` lines or says from now on.
    pub async fn until_like(
        &mut self,
        since: usize,
        patience: Duration,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        if let Some(value) = self.said.iter().skip(since).find(|value| is_it(value)) {
            return Ok(value.clone());
        }
        let next = async {
            while let Some(value) = self.lines.recv().await {
                self.said.push(value.clone());
                if is_it(&value) {
                    return Ok(value);
                }
            }
            Err(format!("{} ended before it said {what}", self.name))
        };
        let outcome = timeout(patience, next).await;
        outcome.map_err(|_| self.waited_for(what, patience))?
    }

    /// What was not said, and what was instead.
    fn waited_for(&self, what: &str, patience: Duration) -> String {
        let said: Vec<String> = self.said.iter().map(|value| format!("    {value}")).collect();
        format!("{}: no {what} within {patience:?}; it said\n{}", self.name, said.join("\n"))
    }

    /// Takes in what it says for so long.
    pub async fn listen(&mut self, how_long: Duration) {
        let all = async {
            while let Some(value) = self.lines.recv().await {
                self.said.push(value);
            }
        };
        let _ = timeout(how_long, all).await;
    }

    /// How much of the sound of this call it has heard by now, in ms, and when that was, in µs of the wall clock.
    pub async fn mark(&mut self) -> Result<Mark, String> {
        self.tell("mark").await?;
        let mark = self.until("mark").await?;
        Ok(Mark { at_us: at_us(&mark), heard_ms: mark["heard_ms"].as_u64().unwrap_or_default() })
    }

    /// Kills it, as `kill -9` does.
    pub async fn kill(mut self) -> Result<Vec<Value>, String> {
        self.child.kill().await.map_err(|error| error.to_string())?;
        Ok(self.said)
    }

    /// Stops all of it where it stands, as a machine does that goes to sleep.
    pub async fn freeze(&self) -> Result<(), String> {
        self.signal("-STOP").await
    }

    /// Lets it go on after [`freeze`](PhoneProcess::freeze).
    pub async fn thaw(&self) -> Result<(), String> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        let id = self.id().ok_or(format!("{} has ended", self.name))?;
        let status = Command::new("kill").args([signal, &id.to_string()]).status().await;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("kill {signal}: {status}")),
            Err(error) => Err(format!("kill {signal}: {error}")),
        }
    }

    /// Ends it properly.
    pub async fn quit(mut self) -> Result<Vec<Value>, String> {
        self.tell("quit").await?;
        self.until("signed_out").await?;
        let _ = timeout(PATIENCE, self.child.wait()).await;
        Ok(self.said)
    }
}

/// A moment of a call as one of its ears has it.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// The wall clock in µs.
    pub at_us: u64,
    /// The recording in ms.
    pub heard_ms: u64,
}

impl Mark {
    /// When this ms of the recording was heard, in µs of the wall clock; right as long as the phone was not stopped in between.
    pub fn wall_us(&self, heard_ms: u64) -> u64 {
        (self.at_us + heard_ms * 1_000).saturating_sub(self.heard_ms * 1_000)
    }
}

/// The wall clock in µs.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
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
            let prefix = std::env::var("NETLAB_PREFIX").unwrap_or_default();
            command.args(["netns", "exec", &format!("{prefix}{host}"), program]);
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
