//! The two programs that README shows, run as it says.

use crate::{
    cargo,
    failure::{Failure, Outcome},
    process,
};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// One waits, the other one calls it; and on a server that knows nobody the call fails with a reason.
pub(crate) fn run() -> Outcome {
    process::run(&mut cargo::command(["build", "--workspace", "--bins", "--examples"]))?;
    let folder = cargo::own_folder()?;
    let program = |name: &str| folder.join("examples").join(cargo::executable_name(name));
    let (server, url) = Started::server(&folder.join(cargo::executable_name("callkitd")))?;

    let alone = Command::new(program("call")).arg(&url).output().map_err(Failure::file(program("call")))?;
    let why = String::from_utf8_lossy(&alone.stderr);
    if alone.status.success() || !why.contains("nobody is called bob") {
        return Err(Failure::found(format!("a call to nobody: {}, {why}", alone.status)));
    }

    let mut answers = Command::new(program("answer"));
    answers.arg(&url);
    let (mut answers, _) = Started::command(answers, "waits")?;
    let called = process::capture(Command::new(program("call")).arg(&url))?;
    let answered = answers.rest()?;
    drop(server);
    print!("--- the caller\n{called}--- the callee\n{answered}");
    says("the caller", &called, &["it rings at bob", "they talk", "over"])?;
    says("the callee", &answered, &["alice calls", "they talk", "over: remote_hangup"])
}

/// Whether each of these lines was said.
pub(crate) fn says(who: &str, said: &str, wanted: &[&str]) -> Outcome {
    match wanted.iter().find(|line| !said.lines().any(|said| said == **line)) {
        Some(missing) => Err(Failure::found(format!("{who} does not say {missing:?}"))),
        None => Ok(()),
    }
}

/// A program that runs beside this one; ended when dropped.
pub(crate) struct Started {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Started {
    /// Starts `callkitd` on a port that is free, and gives its address.
    pub(crate) fn server(path: &Path) -> Outcome<(Started, String)> {
        let mut server = Command::new(path);
        server.args(["--dev", "--listen", "127.0.0.1:0", "--log", "warn"]);
        let (started, ready) = Started::command(server, "tcp=")?;
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("tcp=")).unwrap_or_default();
        Ok((started, format!("http://{address}")))
    }

    /// Starts a program and waits for a line that contains `ready`, which is given back.
    pub(crate) fn command(mut command: Command, ready: &str) -> Outcome<(Started, String)> {
        let path = PathBuf::from(command.get_program());
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(Failure::file(&path))?;
        let said = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe"));
        let mut started = Started { child, said };
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            if started.said.read_line(&mut line).map_err(Failure::file(&path))? == 0 {
                return Err(Failure::found(format!("{} did not get ready", path.display())));
            }
        }
        Ok((started, line))
    }

    /// What it says until it ends by itself; fails unless it exits with 0.
    pub(crate) fn rest(&mut self) -> Outcome<String> {
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
