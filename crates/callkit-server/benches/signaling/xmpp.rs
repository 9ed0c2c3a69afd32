//! The same kind of exchange through XMPP servers: four messages of a call, two each way (XEP-0353), over plain TCP on loopback.
//!
//! The servers are those that this machine has installed, each started here with a configuration of its own in a folder of its own, on
//! a free port, with nothing on that the exchange does not need. They only pass the messages on: no rules of a call, no store, no
//! acknowledgements.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Options;
use crate::figures::{latency, median};
use crate::process::{cpu, memory_kib};

const HOST: &str = "bench.example";
const JINGLE: &str = "urn:xmpp:jingle-message:0";
const STEPS: [&str; 4] = ["propose", "ringing", "proceed", "finish"];

pub async fn compare(options: &Options) {
    if options.xmpp_clients == 0 {
        return;
    }
    for (name, launch) in [("ejabberd", ejabberd as fn(&Path, u16) -> std::io::Result<Child>), ("prosody", prosody)] {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        match launch(folder.path(), port) {
            Ok(child) => measure(options, name, Server { child }, SocketAddr::from(([127, 0, 0, 1], port))).await,
            Err(error) => println!("{name}: not measured, it cannot be started here ({error})"),
        }
    }
}

/// Killed when dropped.
struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ejabberd(folder: &Path, port: u16) -> std::io::Result<Child> {
    // Where the package has its code is written in its control program.
    let control = std::fs::read_to_string("/usr/sbin/ejabberdctl")?;
    let libraries = control.lines().find_map(|line| line.strip_prefix("ERL_LIBS=")).unwrap_or("").trim_matches('\'');
    let config = format!(
        "hosts:\n  - {HOST}\nloglevel: critical\nlisten:\n  -\n    port: {port}\n    ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n    \
         max_stanza_size: 65536\n    access: all\n    starttls: false\nauth_method: anonymous\nanonymous_protocol: sasl_anon\n\
         allow_multiple_connections: true\nmodules: {{}}\n"
    );
    let file = folder.join("ejabberd.yml");
    std::fs::write(&file, config)?;
    // Its schedulers would otherwise spin while they wait, which would count as work.
    let quiet = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"];
    Command::new("erl")
        .args(["+K", "true", "+P", "250000", "-noinput"])
        .args(quiet)
        .args(["-mnesia", "dir"])
        .arg(format!("{:?}", folder.join("database")))
        .args(["-s", "ejabberd"])
        .env("HOME", folder)
        .env("ERL_LIBS", libraries)
        .env("EJABBERD_CONFIG_PATH", &file)
        .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn prosody(folder: &Path, port: u16) -> std::io::Result<Child> {
    std::fs::create_dir(folder.join("certs"))?;
    let config = format!(
        "data_path = {folder:?}\npidfile = {:?}\ncertificates = {:?}\nrun_as_root = true\nlog = {{ error = \"*console\" }}\n\
         modules_enabled = {{ \"disco\", \"saslauth\" }}\nmodules_disabled = {{ \"s2s\", \"tls\", \"offline\" }}\n\
         interfaces = {{ \"127.0.0.1\" }}\nc2s_ports = {{ {port} }}\ns2s_ports = {{}}\nc2s_require_encryption = false\n\
         allow_unencrypted_plain_auth = true\nVirtualHost \"{HOST}\"\n  authentication = \"anonymous\"\n",
        folder.join("prosody.pid"),
        folder.join("certs"),
    );
    let file = folder.join("prosody.cfg.lua");
    std::fs::write(&file, config)?;
    Command::new("prosody")
        .args(["-F", "--config"])
        .arg(&file)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

async fn measure(options: &Options, name: &str, server: Server, address: SocketAddr) {
    let first = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(100)).await; // sleeps: it does not tell when it is ready
        }
    };
    if timeout(Duration::from_secs(60), first).await.is_err() {
        println!("{name}: not measured, it did not get ready within 60 s");
        return;
    }
    println!("{name}, messages passed on, nothing kept");
    let id = server.child.id();
    let _warm = sign_in(address, 50).await;
    let before = memory_kib(id);
    let mut clients = sign_in(address, options.xmpp_clients).await;
    let each = (memory_kib(id) - before) / clients.len() as f64;
    println!("  {} clients signed in", clients.len());
    println!("  memory of each, just signed in             {each:6.1} KiB");

    let mut pairs = Vec::new();
    while pairs.len() < options.pairs
        && let Some(bob) = clients.pop()
        && let Some(ann) = clients.pop()
    {
        pairs.push((ann, bob));
    }
    let (mut one_way, mut exchange) = (Vec::new(), Vec::new());
    for _ in 0..options.calls {
        let started = Instant::now();
        let (ann, bob) = &mut pairs[0];
        one_way.push(talk(ann, bob).await);
        exchange.push(started.elapsed());
    }
    println!("  first message, one exchange at a time      {}", latency(&one_way));
    println!("  four messages, one exchange at a time      {}", latency(&exchange));

    let (mut of_core, mut of_wall, mut exchange) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (used, started) = (cpu(id), Instant::now());
        let until = started + Duration::from_secs_f64(options.seconds);
        let tasks = pairs.into_iter().map(|(mut ann, mut bob)| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until {
                    let started = Instant::now();
                    talk(&mut ann, &mut bob).await;
                    times.push(started.elapsed());
                }
                ((ann, bob), times)
            })
        });
        let done = join_all(tasks).await;
        let (wall, used) = (started.elapsed().as_secs_f64(), (cpu(id) - used).as_secs_f64());
        pairs = Vec::new();
        let mut exchanges = 0.0;
        for ended in done {
            let (pair, times) = ended.unwrap();
            pairs.push(pair);
            exchanges += times.len() as f64;
            exchange.extend(times);
        }
        of_core.push(exchanges / used.max(0.01));
        of_wall.push(exchanges / wall);
    }
    println!("  exchanges per second of one core           {}", median(&mut of_core));
    println!("  exchanges per second on this machine       {}, {} pairs", median(&mut of_wall), options.pairs);
    println!("  four messages, {:3} pairs at once           {}", options.pairs, latency(&exchange));
}

async fn sign_in(address: SocketAddr, count: usize) -> Vec<Client> {
    let signing_in = (0..count).map(|_| Client::sign_in(address));
    stream::iter(signing_in).buffer_unordered(32).collect().await
}

/// Four messages, each said when the one before has come; how long the first took.
async fn talk(ann: &mut Client, bob: &mut Client) -> Duration {
    let started = Instant::now();
    let mut first = Duration::ZERO;
    for (number, step) in STEPS.into_iter().enumerate() {
        let (from, to) = if number % 2 == 0 { (&mut *ann, &mut *bob) } else { (&mut *bob, &mut *ann) };
        from.say(&to.address, step).await;
        to.hears(step).await;
        if number == 0 {
            first = started.elapsed();
        }
    }
    first
}

/// One signed-in client.
struct Client {
    socket: TcpStream,
    /// Its full address.
    address: String,
    heard: Vec<u8>,
}

impl Client {
    async fn sign_in(server: SocketAddr) -> Client {
        let socket = TcpStream::connect(server).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut client = Client { socket, address: String::new(), heard: Vec::new() };
        let open = format!(
            "<?xml version='1.0'?><stream:stream to='{HOST}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
             version='1.0'>"
        );
        client.write(&open).await;
        client.until("</stream:features>").await;
        client.write("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>").await;
        client.until("<success").await;
        client.write(&open).await;
        client.until("</stream:features>").await;
        client.write("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
        let bound = client.until("</iq>").await;
        let address = bound.split("<jid>").nth(1).and_then(|rest| rest.split("</jid>").next());
        client.address = address.unwrap_or_else(|| panic!("no address in {bound}")).to_owned();
        client
    }

    async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    async fn say(&mut self, to: &str, step: &str) {
        let media = "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>";
        self.write(&format!("<message to='{to}' id='1' type='chat'><{step} xmlns='{JINGLE}' id='a73sjjvkla37jfea'>{media}</{step}></message>"))
            .await;
    }

    async fn hears(&mut self, step: &str) {
        let heard = self.until("</message>").await;
        assert!(heard.contains(&format!("<{step} ")) && !heard.contains("type='error'"), "{heard} instead of {step}");
    }

    /// Everything up to this, which is taken; what follows waits.
    async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.heard.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.heard.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.heard, rest)).unwrap();
            }
            let read = timeout(Duration::from_secs(30), self.socket.read_buf(&mut self.heard)).await;
            let read = read.unwrap_or_else(|_| panic!("no {end} came")).unwrap();
            assert!(read > 0, "the server closed: {}", String::from_utf8_lossy(&self.heard));
        }
    }
}
