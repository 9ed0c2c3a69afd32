//! The model check by hand.

use std::process::ExitCode;

use model::{Plan, check};

const HELP: &str = "\
Goes through every state of small worlds of the signaling machines, and checks what must hold in each.

  NAME ...      only these worlds (default: all)
  --list        the worlds
  --faults N    how many messages are lost, repeated or late (default: that of the world, 1)
  --hands N,N   how often each user answers, hangs up or holds at most (default: that of the world)
  --threads N   how many threads check (default: one for each core)
";

struct Wish {
    names: Vec<String>,
    faults: Option<u8>,
    hands: Option<Vec<u8>>,
    threads: usize,
}

fn main() -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wish = Wish { names: Vec::new(), faults: None, hands: None, threads };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut numbers =
            || -> Option<Vec<u8>> { words.next()?.split(',').map(|number| number.parse().ok()).collect() };
        let is_understood = match word.as_str() {
            "--list" => {
                Plan::all().iter().for_each(|plan| println!("{:<20}{}", plan.name, plan.about));
                return ExitCode::SUCCESS;
            }
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "--faults" => numbers().map(|faults| wish.faults = faults.first().copied()).is_some(),
            "--hands" => numbers().map(|hands| wish.hands = Some(hands)).is_some(),
            "--threads" => numbers()
                .and_then(|threads| threads.first().copied())
                .map(|threads| wish.threads = usize::from(threads).max(1))
                .is_some(),
            name if Plan::all().iter().any(|plan| plan.name == name) => {
                wish.names.push(word.clone());
                true
            }
            _ => false,
        };
        if !is_understood {
            eprint!("what is {word:?}?\n\n{HELP}");
            return ExitCode::from(2);
        }
    }
    run(&wish)
}

fn run(wish: &Wish) -> ExitCode {
    let mut is_fine = true;
    for mut plan in Plan::all() {
        if !wish.names.is_empty() && !wish.names.iter().any(|name| name == plan.name) {
            continue;
        }
        plan.faults = wish.faults.unwrap_or(plan.faults);
        for (hands, wished) in plan.hands.iter_mut().zip(wish.hands.iter().flatten()) {
            *hands = *wished;
        }
        let report = check(plan, wish.threads);
        print!("{report}");
        is_fine &= report.is_fine();
    }
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
