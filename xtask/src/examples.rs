//! The two programs that README shows, run as it says.

use crate::{
    cargo,
    failure::{Failure, Outcome},
    process,
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// One waits, the other one calls it; and on a server that knows nobody the call fails with a reason.
pub(crate) fn run() -> Outcome {
    process::run(&mut cargo::command(["build", "--workspace", "--bins", "--examples"]))?;
    let folder = cargo::own_folder()?;
    let program = |name: &str| folder.join("examples").join(cargo::executable_name(name));
    let (server, ready) = Started::program(
        &folder.join(cargo::executable_name("callkitd")),
        &["--dev", "--listen", "127.0.0.1:0", "--log", "warn"],
        "tcp=",
    )?;
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("tcp=")).unwrap_or_default();
    let url = format!("http://{address}");

    let alone = Command::new(program("call")).arg(&url).output().map_err(Failure::file(program("call")))?;
    let why = String::from_utf8_lossy(&alone.stderr);
    if alone.status.success() || !why.contains("nobody is called bob") {
        return Err(Failure::found(format!("a call to nobody: {}, {why}", alone.status)));
    }

    let (mut answers, _) = Started::program(&program("answer"), &[&url], "waits")?;
    let called = process::capture(Command::new(program("call")).arg(&url))?;
    let answered = answers.rest()?;
    drop(server);
    for (who, said, wanted) in [
        ("the caller", &called, ["it rings at bob", "they talk", "over"]),
        ("the callee", &answered, ["alice calls", "they talk", "over: remote_hangup"]),
    ] {
        print!("--- {who}\n{said}");
        if let Some(missing) = wanted.iter().find(|line| !said.lines().any(|said| said == **line)) {
            return Err(Failure::found(format!("{who} does not say {missing:?}")));
        }
    }
    Ok(())
}

/// A program that runs beside this one; ended when dropped.
struct Started {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Started {
    /// Starts a program and waits for a line that contains `ready`, which is given back.
    fn program(path: &Path, words: &[&str], ready: &str) -> Outcome<(Started, String)> {
        let mut child = Command::new(path).args(words).stdout(Stdio::piped()).spawn().map_err(Failure::file(path))?;
        let said = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe"));
        let mut started = Started { child, said };
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            if started.said.read_line(&mut line).map_err(Failure::file(path))? == 0 {
                return Err(Failure::found(format!("{} did not get ready", path.display())));
            }
        }
        Ok((started, line))
    }

    /// What it says until it ends by itself; fails unless it exits with 0.
    fn rest(&mut self) -> Outcome<String> {
        let said = std::io::read_to_string(&mut self.said).map_err(Failure::file("an example"))?;
        let status = self.child.wait().map_err(Failure::file("an example"))?;
        if status.success() { Ok(said) } else { Err(Failure::found(format!("an example failed ({status}): {said}"))) }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
