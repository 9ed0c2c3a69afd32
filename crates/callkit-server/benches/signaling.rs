//! What a signed-in idle user costs the server in memory, and how many calls one of its cores negotiates in a second.
//!
//! The server is the program `callkitd` in a process of its own; the clients are here. `cargo bench -p callkit-server --bench
//! signaling -- [--users COUNT] [--pings COUNT] [--pairs COUNT] [--seconds COUNT]`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "a measurement that fails may panic")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::{End, EndReason};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, Word};

#[path = "../tests/server/client.rs"]
mod client;
#[path = "../tests/server/words.rs"]
mod words;

use client::{Client, app, hello};
use words::{invite, party};

struct Options {
    users: usize,
    pings: usize,
    pairs: usize,
    seconds: u64,
}

fn main() {
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        idle(&options).await;
        println!();
        negotiate(&options, false).await;
        negotiate(&options, true).await;
    });
}

fn options() -> Options {
    let mut options = Options { users: 2_000, pings: 200, pairs: 32, seconds: 5 };
    // `cargo bench` adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let number: usize = words.next().and_then(|number| number.parse().ok()).expect("a number after each option");
        match word.as_str() {
            "--users" => options.users = number,
            "--pings" => options.pings = number,
            "--pairs" => options.pairs = number,
            "--seconds" => options.seconds = number as u64,
            other => panic!("{other} is unknown: --users, --pings, --pairs, --seconds"),
        }
    }
    options
}

/// `callkitd` in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(keeps_calls: bool) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let shop = app("shop");
        let config = format!(
            "listen = \"127.0.0.1:0\"\nlog = \"warn\"\n{}\n[[apps]]\napp_id = \"{}\"\napi_key = \"{}\"\nsecret = \"{}\"\n",
            if keeps_calls { format!("data_dir = {:?}", folder.path()) } else { "dev = true".into() },
            shop.app_id,
            shop.api_key,
            shop.secret
        );
        let file = folder.path().join("callkitd.toml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_callkitd"))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("callkitd starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a ready line");
        Process { address: address.parse().unwrap(), child, _folder: folder }
    }

    /// Resident memory in KiB.
    fn resident_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time used so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // Linux counts in hundredths of a second here, whatever its own tick.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn idle(options: &Options) {
    let server = Process::start(true);
    // What the first users make the process load is not theirs.
    let warm = sign_in(&server, "warm", 50).await;
    let before = server.resident_kib();
    let started = Instant::now();
    let mut users = sign_in(&server, "idle", options.users).await;
    let took = started.elapsed();
    let per_user = || (server.resident_kib() - before) / options.users as f64;
    println!("{} users signed in, in {:.1} s", options.users, took.as_secs_f64());
    println!("memory of each, just signed in           {:6.1} KiB", per_user());
    let started = Instant::now();
    let cpu = server.cpu();
    for _ in 0..options.pings {
        for user in &mut users {
            user.hears_nothing().await;
        }
    }
    let pings = options.pings * options.users;
    let ping_cpu = (server.cpu() - cpu).as_secs_f64() / pings as f64;
    println!("memory of each, after {:4} pings         {:6.1} KiB", options.pings, per_user());
    println!(
        "processor time of a ping                 {:6.1} µs ({:.0} s for {pings})",
        ping_cpu * 1e6,
        started.elapsed().as_secs_f64()
    );
    drop((users, warm));
}

async fn sign_in(server: &Process, name: &str, count: usize) -> Vec<Client> {
    let mut users = Vec::with_capacity(count);
    for number in 0..count {
        users.push(Client::sign_in(server.address, &format!("{name}-{number}@example.org")).await);
    }
    users
}

async fn negotiate(options: &Options, keeps_calls: bool) {
    let server = Process::start(keeps_calls);
    let mut pairs = Vec::new();
    for number in 0..options.pairs {
        let (caller, callee) = (format!("caller-{number}"), format!("callee-{number}"));
        let ann = Client::try_sign_in(server.address, hello(&app("shop"), &caller, "phone")).await.unwrap();
        let bob = Client::try_sign_in(server.address, hello(&app("shop"), &callee, "phone")).await.unwrap();
        pairs.push((number, ann, bob));
    }
    let (cpu, started) = (server.cpu(), Instant::now());
    let until = started + Duration::from_secs(options.seconds);
    let tasks: Vec<_> = pairs
        .into_iter()
        .map(|(number, mut ann, mut bob)| {
            tokio::spawn(async move {
                let mut calls = 0_u128;
                while Instant::now() < until {
                    calls += 1;
                    let call_id = CallId::from_bits((number as u128) << 64 | calls);
                    call(&mut ann, &mut bob, call_id, number).await;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    let (took, cpu) = (started.elapsed().as_secs_f64(), (server.cpu() - cpu).as_secs_f64());
    println!(
        "{calls} calls from invite to end, {}: {:.0} a second of wall time, {:.0} a second of one server core ({:.0} µs each, {:.2} cores)",
        if keeps_calls { "kept on disk  " } else { "in memory only" },
        calls as f64 / took,
        calls as f64 / cpu,
        cpu / calls as f64 * 1e6,
        cpu / took,
    );
}

/// Ten messages through the server: the shortest call that was answered.
async fn call(ann: &mut Client, bob: &mut Client, call_id: CallId, number: usize) {
    let (caller, callee) = (format!("caller-{number}"), format!("callee-{number}"));
    ann.say(call_id, invite(call_id, &caller, &callee)).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(call_id, Word::Alert(Alert { callee: party(&callee) })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(_)));
    assert!(matches!(ann.word().await, Word::Alert(_)));
    bob.say(call_id, Word::Answer(Answer { callee: party(&callee), result: AnswerResult::Accept, call_type: None }))
        .await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(_)));
    assert!(matches!(ann.word().await, Word::Answer(_)));
    ann.say(call_id, Word::End(End { reason: EndReason::Hangup })).await;
    assert!(matches!(bob.word().await, Word::End(_)));
    assert!(matches!(ann.word().await, Word::End(_)));
}
