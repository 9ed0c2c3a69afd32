//! Running other programs: shown before they start, reported when they fail.

use crate::failure::{Failure, Outcome};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

/// Prints the command line, runs it on this terminal and fails unless it exits with 0.
pub fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    // What was printed so far has to stand above what the program prints.
    let _ = std::io::stdout().flush();
    let status = command.status().map_err(|cause| Failure::Start { line: line.clone(), cause })?;
    if status.success() { Ok(()) } else { Err(Failure::Program { line, how: status.to_string() }) }
}

/// Shows what a program says on its error stream while it says it, and returns those of its lines that are looked for; fails unless it exits with 0.
pub fn watch(command: &mut Command, looked_for: fn(&str) -> bool) -> Outcome<Vec<String>> {
    let line = line(command);
    println!("$ {line}");
    let start = |cause| Failure::Start { line: line.clone(), cause };
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(start)?;
    let said = BufReader::new(child.stderr.take().expect("stderr was asked for as a pipe"));
    let mut found = Vec::new();
    for said in said.lines() {
        let said = said.map_err(start)?;
        eprintln!("{said}");
        if looked_for(&said) {
            found.push(said);
        }
    }
    let status = child.wait().map_err(start)?;
    if status.success() { Ok(found) } else { Err(Failure::Program { line, how: status.to_string() }) }
}

/// Runs a program without showing it and returns what it printed; fails unless it exits with 0.
pub fn capture(command: &mut Command) -> Outcome<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().map_err(|cause| Failure::Start { line: line.clone(), cause })?;
    text_of(line, output)
}

/// Feeds `input` to a program and returns what it printed; fails unless it exits with 0.
pub fn filter(command: &mut Command, input: &str) -> Outcome<String> {
    let line = line(command);
    let start = |cause| Failure::Start { line: line.clone(), cause };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    let mut stdin = child.stdin.take().expect("stdin was asked for as a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(start)?;
    // A program that fails before it has read everything closes the pipe; its own message says why.
    let _ = writer.join();
    text_of(line, output)
}

/// Whether a program can be started and exits with 0.
pub fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn text_of(line: String, output: Output) -> Outcome<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Program { line, how: format!("{}: {}", output.status, said.trim()) })
}

/// The command as a person would type it: the program without its folder.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_line_and_what_it_said() {
        let failure = capture(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err().to_string();
        assert!(failure.contains("sh -c") && failure.contains('3') && failure.contains("broken"), "{failure}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = capture(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(failure.contains("cannot start `no-such-program-here`"), "{failure}");
        assert!(!succeeds("no-such-program-here", &[]));
    }

    #[test]
    fn a_filter_gets_its_whole_input_however_long() {
        let long = "a line of text\n".repeat(100_000);
        assert_eq!(filter(&mut Command::new("cat"), &long).unwrap(), long);
    }
}
