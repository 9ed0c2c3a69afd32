//! The simulation by hand: one seed with its transcript, or many calls from a seed on.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use world::{campaign, simulate};

const HELP: &str = "\
Random users, phones, networks and faults from one seed; the rules of a call are checked after every step.

  --seed N    the world of this seed, with all that happens in it; with --calls the first of many
  --calls N   as many worlds as it takes for this many calls (default 1000000)
  --fresh     begin at a seed that nobody chose
  --ends      tell how the calls ended
";

struct Wish {
    seed: Option<u64>,
    calls: Option<u64>,
    ends: bool,
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(word) => {
            eprint!("what is {word:?}?\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match wish {
        Wish { seed: Some(seed), calls: None, .. } => one(seed),
        Wish { seed, calls, ends } => many(seed.unwrap_or(0), calls.unwrap_or(1_000_000), ends),
    }
}

/// `None` asks for help; an error is the word that was not understood.
fn wish(mut words: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let mut wish = Wish { seed: None, calls: None, ends: false };
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().ok_or(word.clone())?;
            number.parse().map_err(|_| number)
        };
        match word.as_str() {
            "--seed" => wish.seed = Some(number()?),
            "--calls" => wish.calls = Some(number()?),
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

fn one(seed: u64) -> ExitCode {
    let report = simulate(seed, None, true);
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

fn many(first_seed: u64, calls: u64, ends: bool) -> ExitCode {
    let began = Instant::now();
    let summary = campaign(first_seed, calls, None);
    if ends {
        for (end, count) in &summary.ends {
            println!("{count:>9} {end}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{} calls in {} worlds from seed {first_seed} on, {seconds:.1} s", summary.calls, summary.worlds);
    match summary.failed.and_then(|report| report.failure()) {
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
