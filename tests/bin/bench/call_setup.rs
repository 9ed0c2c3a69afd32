//! From invite to ring, and from answer to the first sound that is given to the loudspeaker at each end.

use std::time::Duration;

use tests::processes::host::{PhoneProcess, ServerProcess, at_us};
use tests::processes::netlab;
use tests::processes::phone::PhoneOptions;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Calls for each network
    #[arg(long, default_value_t = 100)]
    calls: u32,
    /// Only loopback, no bad networks
    #[arg(long)]
    loopback: bool,
    /// The one network to measure, inside a laboratory: its delay in ms, loss in percent, and 1 for the warm path
    #[arg(long, num_args = 3, hide = true)]
    network: Option<Vec<u32>>,
}

/// What is measured: name, delay of what a phone sends in ms, loss of it in percent, and how many times the usual number of calls.
const NETWORKS: [(&str, u32, u32, u32); 4] = [
    ("loopback", 0, 0, 1),
    ("50 ms each way", 50, 0, 1),
    ("100 ms each way", 100, 0, 1),
    ("50 ms each way, 10 % loss", 50, 10, 2),
];

pub(crate) fn run(runtime: &tokio::runtime::Runtime, options: &Options) -> Result<(), String> {
    if let Some(network) = &options.network {
        return runtime.block_on(measure(options.calls, network[1] > 0, netlab::is_inside(), network[2] > 0));
    }
    println!("{} calls a network (twice as many with loss); times in ms, p50 / p99", options.calls);
    println!(
        "{:<38}{:>16}{:>24}{:>24}",
        "network", "invite → ring", "answer → sound, callee", "answer → sound, caller"
    );
    let rows = NETWORKS.into_iter().flat_map(|network| [(network, true), (network, false)]);
    for ((name, delay_ms, loss_percent, times), warm) in rows {
        print!("{:<38}", format!("{name}, {}", if warm { "warm" } else { "warm path off" }));
        std::io::Write::flush(&mut std::io::stdout()).map_err(|error| error.to_string())?;
        let calls = options.calls * times;
        if delay_ms == 0 {
            runtime.block_on(measure(calls, false, false, warm))?;
            continue;
        }
        if options.loopback {
            println!("not asked for");
            continue;
        }
        if let Some(obstacle) = netlab::obstacle() {
            println!("not measured: {obstacle}");
            continue;
        }
        let again = [
            "call-setup",
            "--calls",
            &calls.to_string(),
            "--network",
            &delay_ms.to_string(),
            &loss_percent.to_string(),
            if warm { "1" } else { "0" },
        ];
        if !netlab::run_inside(&again.map(str::to_owned), delay_ms, f64::from(loss_percent) / 100.0)? {
            return Err(format!("{name}: not every call connected"));
        }
    }
    Ok(())
}

async fn measure(calls: u32, lossy: bool, inside: bool, warm: bool) -> Result<(), String> {
    let host = |name: &'static str| inside.then_some(name);
    let listen = if inside { format!("{}:7450", netlab::SERVER_ADDRESS) } else { "127.0.0.1:0".to_owned() };
    let server = ServerProcess::start(host("server"), &listen).await?;
    let options = |user: &str| PhoneOptions {
        user: user.into(),
        server: server.url.clone(),
        speak: "voice".into(),
        hear: "nowhere".into(),
        loopback: !inside,
        warm,
    };
    let mut alice = PhoneProcess::start(host("alice"), &options("alice")).await?;
    let mut bob = PhoneProcess::start(host("bob"), &options("bob")).await?;
    let mut times = Times::default();
    for call in 0..calls {
        if let Err(error) = one_call(&mut alice, &mut bob, &mut times).await {
            return Err(format!("call {call}: {error}"));
        }
    }
    alice.quit().await?;
    bob.quit().await?;
    let figures = [&mut times.ring, &mut times.callee, &mut times.caller].map(|sample| figure(sample));
    println!("{:>16}{:>24}{:>24}", figures[0], figures[1], figures[2]);
    if lossy {
        println!("{:<38}all {calls} calls connected", "");
    }
    Ok(())
}

/// How long it rings: about as long as somebody takes who has the phone in the hand.
const RINGS_FOR: Duration = Duration::from_millis(1_500);

#[derive(Default)]
struct Times {
    ring: Vec<u64>,
    callee: Vec<u64>,
    caller: Vec<u64>,
}

async fn one_call(alice: &mut PhoneProcess, bob: &mut PhoneProcess, times: &mut Times) -> Result<(), String> {
    alice.tell("call bob").await?;
    let calling = at_us(&alice.until("calling").await?);
    let ring = at_us(&bob.until("receive_call").await?);
    alice.until("ringing").await?;
    tokio::time::sleep(RINGS_FOR).await; // sleeps: a person takes a moment to answer
    bob.tell("answer").await?;
    let answering = at_us(&bob.until("answering").await?);
    let callee = at_us(&bob.until("first_sound").await?);
    let caller = at_us(&alice.until("first_sound").await?);
    times.ring.push(ring - calling);
    times.callee.push(callee - answering);
    times.caller.push(caller - answering);
    bob.tell("hangup").await?;
    bob.until("call_end").await?;
    alice.until("call_end").await?;
    Ok(())
}

fn figure(sample: &mut [u64]) -> String {
    sample.sort_unstable();
    let at = |share: f64| sample[((sample.len() - 1) as f64 * share).round() as usize] as f64 / 1_000.0;
    format!("{:.1} / {:.1}", at(0.50), at(0.99))
}
