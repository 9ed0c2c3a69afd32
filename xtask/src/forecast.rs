//! How long things take: told before they begin, so that nobody wonders whether they still run.

use std::time::{Duration, Instant};

use crate::{cargo, process};

/// What a first build costs one core of a machine of today, in minutes: all tests, and what the demo needs of it.
const TESTS_CORE_MINUTES: usize = 24;
const DEMO_CORE_MINUTES: usize = 9;

/// When the command was given: a moment before this program was, since `cargo run` becomes the program that it built.
pub(crate) fn began() -> Instant {
    let now = Instant::now();
    let id = std::process::id().to_string();
    let age = process::capture(std::process::Command::new("ps").args(["-o", "etime=", "-p", &id])).ok();
    age.and_then(|age| now.checked_sub(elapsed(&age)?)).unwrap_or(now)
}

/// What a build of every test takes where nothing was built before.
pub(crate) fn of_a_first_build() -> String {
    minutes(TESTS_CORE_MINUTES)
}

/// What a build of these programs of the demo takes.
pub(crate) fn of_the_build(programs: &[&str]) -> String {
    let is_there = |folder: std::path::PathBuf| {
        programs.iter().all(|program| folder.join(cargo::executable_name(program)).is_file())
    };
    if cargo::own_folder().is_ok_and(is_there) {
        "they are there; seconds, if little has changed".to_owned()
    } else {
        format!("the first time {}", minutes(DEMO_CORE_MINUTES))
    }
}

fn minutes(of_one_core: usize) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let s = if cores == 1 { "" } else { "s" };
    format!("about {} minutes with {cores} idle core{s}", of_one_core.div_ceil(cores))
}

/// Reads `[[days-]hours:]minutes:seconds`, as `ps` writes it (POSIX).
fn elapsed(text: &str) -> Option<Duration> {
    let (days, clock) = match text.trim().split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
        None => (0, text.trim()),
    };
    let parts = clock.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    Some(Duration::from_secs(days * 86_400 + parts.iter().fold(0, |sum, part| sum * 60 + part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_ps_tells_is_read() {
        for (text, s) in [("      00:07\n", 7), ("03:05", 185), ("01:00:00", 3_600), ("2-00:00:01", 172_801)] {
            assert_eq!(elapsed(text), Some(Duration::from_secs(s)), "{text}");
        }
        assert_eq!(elapsed("?"), None);
    }
}
