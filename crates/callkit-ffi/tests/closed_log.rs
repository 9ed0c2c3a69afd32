//! The log of a process whose standard error nobody reads.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Read as _;
use std::process::{Command, Stdio};

/// Set in the process that logs, which is this program once more.
const IS_LOGGING: &str = "CALLKIT_TEST_IS_LOGGING";

#[test]
fn a_line_that_cannot_be_written_is_lost_and_nothing_else() {
    if std::env::var_os(IS_LOGGING).is_some() {
        // Its end says that nobody reads any more.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        callkit_ffi::init_logging("info".into()).unwrap();
        tracing::info!("nobody reads this");
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_line_that_cannot_be_written_is_lost_and_nothing_else", "--exact", "--nocapture"]);
    command.env(IS_LOGGING, "1").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
