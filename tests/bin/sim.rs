//! The simulation by hand: one seed with its transcript, or many calls from a seed on.

use std::process::ExitCode;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use world::{Placement, Summary, Switch, campaign, simulate_without};

const HELP: &str = "\
Random users, devices, networks and faults from one seed; the rules of a call are checked after every step.

  --seed N        the world of this seed, with all that happens in it; with --calls the first of many
  --calls N       as many worlds as it takes for this many calls (default 1000000)
  --fresh         begin at a seed that nobody chose
  --without WORD  the world of --seed with this taken out of it; may be repeated
  --ends          tell how the calls ended
";

#[derive(Default)]
struct Wish {
    seed: Option<u64>,
    calls: Option<u64>,
    without: Vec<Switch>,
    ends: bool,
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            print!("{HELP}");
            for switch in Switch::ALL {
                print!(" {switch}");
            }
            println!();
            return ExitCode::SUCCESS;
        }
        Err(word) => {
            eprint!("what is {word:?}?\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match wish {
        Wish { seed: Some(seed), calls: None, without, .. } => one(seed, &without),
        Wish { seed, calls, ends, .. } => many(seed.unwrap_or(0), calls.unwrap_or(1_000_000), ends),
    }
}

/// `None` asks for help; an error is the word that was not understood.
fn wish(mut words: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let mut wish = Wish::default();
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().ok_or(word.clone())?;
            number.parse().map_err(|_| number)
        };
        match word.as_str() {
            "--seed" => wish.seed = Some(number()?),
            "--calls" => wish.calls = Some(number()?),
            "--without" => wish.without.push(words.next().ok_or(word.clone())?.parse()?),
            "--fresh" => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                wish.seed = Some(u64::from(since.subsec_nanos()) << 32 | (since.as_secs() & 0xffff_ffff));
                wish.calls = wish.calls.or(Some(100_000));
            }
            "--ends" => wish.ends = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(word),
        }
    }
    Ok(Some(wish))
}

fn one(seed: u64, without: &[Switch]) -> ExitCode {
    let report = simulate_without(seed, without, None, true);
    println!("{:#?}\n{}", report.plan, report.transcript);
    match report.failure() {
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
        None => {
            println!("{} calls, every rule held", report.calls);
            ExitCode::SUCCESS
        }
    }
}

/// One thread for each core, each with seeds of its own: which worlds there are does not depend on how fast they are.
fn many(first_seed: u64, calls: u64, ends: bool) -> ExitCode {
    let began = Instant::now();
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
    let share = calls.div_ceil(threads as u64);
    let summaries: Vec<Summary> = thread::scope(|scope| {
        let runs: Vec<_> = (0..threads as u64)
            .map(|nth| scope.spawn(move || campaign(first_seed + nth, threads, share, None)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap_or_default()).collect()
    });
    let summary = summaries.into_iter().fold(Summary::default(), Summary::and);
    if ends {
        for (end, count) in &summary.ends {
            println!("{count:>9} {end}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let per_second = summary.calls as f64 / seconds;
    println!("{} calls in {} worlds from seed {first_seed} on, {seconds:.1} s", summary.calls, summary.worlds);
    println!("{per_second:.0} calls per second on {threads} threads");
    for placement in Placement::ALL {
        let count = summary.placements.get(&placement).copied().unwrap_or_default();
        println!("{count:>9} with the arbiter's placement {placement}");
    }
    match summary.failed.and_then(|report| report.failure()) {
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
        None if summary.calls < calls => {
            println!("a thread panicked");
            ExitCode::FAILURE
        }
        None => {
            println!("every rule held");
            ExitCode::SUCCESS
        }
    }
}
