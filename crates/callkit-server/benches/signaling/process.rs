//! Servers as processes: their start, what they use, their end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::client::app;

/// `callkitd` in a process of its own; killed when dropped.
pub struct Callkitd {
    child: Child,
    pub address: SocketAddr,
    /// When it was started, and how long it took until it said that it serves.
    pub started: Instant,
    pub ready_after: Duration,
    folder: tempfile::TempDir,
    keeps_calls: bool,
    more: String,
}

impl Callkitd {
    pub fn start(keeps_calls: bool) -> Callkitd {
        Self::start_with(keeps_calls, "", 60_000)
    }

    /// With more lines of configuration, and another limit of overload.
    pub fn start_with(keeps_calls: bool, lines: &str, overload_delay_ms: u32) -> Callkitd {
        let folder = tempfile::tempdir().unwrap();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let more = format!("{lines}\n{NO_LIMITS}overload_delay_ms = {overload_delay_ms}\n");
        let (child, address, started, ready_after) = launch(&folder, keeps_calls, anywhere, &more);
        Callkitd { child, address, started, ready_after, folder, keeps_calls, more }
    }

    /// Kills it as `kill -9` does and starts it again on the same address with the same folder.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address, self.started, self.ready_after) =
            launch(&self.folder, self.keeps_calls, self.address, &self.more);
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Files and sockets that it has open.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> f64 {
        memory_kib(self.child.id())
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }
}

impl Drop for Callkitd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(
    folder: &tempfile::TempDir,
    keeps_calls: bool,
    listen: SocketAddr,
    more: &str,
) -> (Child, SocketAddr, Instant, Duration) {
    let shop = app("shop");
    let calls = if keeps_calls { format!("data_dir = {:?}", folder.path()) } else { "dev = true".into() };
    let config = format!(
        "listen = \"{listen}\"\nlog = \"warn\"\n{calls}\n{more}\n[[apps]]\napp_id = \"{}\"\napi_key = \"{}\"\nsecret = \"{}\"\n",
        shop.app_id, shop.api_key, shop.secret
    );
    let file = folder.path().join("callkitd.toml");
    std::fs::write(&file, config).unwrap();
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.arg("--config").arg(&file).stdout(Stdio::piped());
    let mut child = on_the_servers_core(|| command.spawn()).expect("callkitd starts");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready_after = started.elapsed();
    let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a ready line");
    (child, address.parse().unwrap(), started, ready_after)
}

/// The cores that servers have to themselves, if any.
static SERVERS_CORE: OnceLock<CpuSet> = OnceLock::new();

/// From now on servers run on the first core and this thread, with those that it starts, on the others: whoever makes the load does
/// not take from the server what is measured of it. Says whether there are cores enough.
pub fn part_the_cores() -> bool {
    let all = sched_getaffinity(None).expect("a process runs somewhere");
    let (mut first, mut rest) = (CpuSet::new(), all);
    let Some(core) = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).filter(|_| all.count() > 1) else {
        return false;
    };
    first.set(core);
    rest.unset(core);
    SERVERS_CORE.set(first).is_ok() && sched_setaffinity(None, &rest).is_ok()
}

/// A process runs where the thread that started it did.
fn on_the_servers_core<T>(start: impl FnOnce() -> T) -> T {
    let Some(core) = SERVERS_CORE.get() else { return start() };
    let before = sched_getaffinity(None).expect("a process runs somewhere");
    sched_setaffinity(None, core).expect("the core is there");
    let started = start();
    sched_setaffinity(None, &before).expect("the cores are there");
    started
}

/// What one process does here in a second, many phones do elsewhere in a day.
const NO_LIMITS: &str = "[limits]\nsign_ins_per_user_per_minute = 0\nframes_per_device_per_minute = 0\n\
    invites_per_user_per_minute = 0\ninvites_per_device_per_minute = 0\ninvites_per_app_per_minute = 0\n";

/// Resident memory of a process in KiB.
pub fn memory_kib(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time that a process has used so far, with its children that have ended.
pub fn cpu(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    // Linux counts in hundredths of a second here, whatever its own tick.
    Duration::from_millis(ticks * 10)
}

/// Lets this process and those it starts open so many files, as far as the system allows.
pub fn raise_file_limit(files: usize) {
    let wanted = files as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum;
    limit.current = Some(wanted.max(allowed.unwrap_or(wanted)));
    limit.maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    let raised = setrlimit(Resource::Nofile, limit);
    assert!(raised.is_ok(), "{files} open files are needed and {allowed:?} are allowed; take fewer --devices");
}
