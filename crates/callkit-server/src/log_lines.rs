//! Where the log of a program goes: a side channel that never fails, blocks or ends what is logged about.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for a slow reader, some hundred bytes each.
const LINES: usize = 8_192;
/// How long the end of a program waits for the lines that are left.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Lines lost since the process began.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Takes log lines and has them written by a thread of its own, for a `tracing-subscriber`.
///
/// A line that cannot be written, or that finds 8,192 others waiting, is lost and counted in `callkit_log_lines_lost_total`; whoever logs
/// it never waits and never learns of it. Use it with `log_internal_errors(false)`.
#[derive(Debug, Clone)]
pub struct LogLines(Arc<Waiting>);

/// Waits, when it is dropped, until the lines are written that were logged before; at most 1 s.
#[derive(Debug)]
pub struct LastLines(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    /// One was taken from there and is not written yet.
    is_writing: bool,
}

impl LogLines {
    /// Begins to write to `out`; the other value is to be kept until the end of the program. Fails if there can be no thread.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<(LogLines, LastLines)> {
        let waiting = Arc::new(Waiting::default());
        let writer = Arc::clone(&waiting);
        thread::Builder::new().name("callkit-log".into()).spawn(move || writer.write_all(out))?;
        Ok((LogLines(Arc::clone(&waiting)), LastLines(waiting)))
    }
}

impl MakeWriter<'_> for LogLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Each write is a line.
impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        if lines.waiting.len() < LINES {
            lines.waiting.push_back(line.to_vec());
            self.0.changed.notify_all();
        } else {
            lose();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let is_behind = |lines: &mut Lines| lines.is_writing || !lines.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), LAST_LINES, is_behind));
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For as long as the process lives.
    fn write_all(&self, mut out: impl Write) {
        loop {
            let waited = self.changed.wait_while(self.lock(), |lines| lines.waiting.is_empty());
            let mut lines = waited.unwrap_or_else(PoisonError::into_inner);
            let line = lines.waiting.pop_front().unwrap_or_default();
            lines.is_writing = true;
            drop(lines);
            if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                lose();
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

fn lose() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

/// Lines lost by this process since it began.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes nothing before it is told to, and says what it was given.
    struct Slow {
        goes_on: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.goes_on.recv().ok();
            self.written.send(line.to_vec()).ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_neither_waits_for_a_reader_nor_misses_one() {
        let (go, goes_on) = channel();
        let (written, read) = channel();
        let (mut lines, last) = LogLines::to(Slow { goes_on, written }).unwrap();
        let before = lost();
        for number in 0..LINES + 100 {
            assert!(lines.write(format!("{number}\n").as_bytes()).is_ok());
        }
        assert!(lost() >= before + 99, "one is being written, {LINES} wait");
        drop(go);
        // At most as many as wait were taken: the last that comes is known by their number.
        let read: Vec<_> = read.iter().take(LINES).collect();
        assert_eq!((read[0].as_slice(), read[1].as_slice()), (&b"0\n"[..], &b"1\n"[..]));
        drop(last);

        let (mut lines, last) = LogLines::to(Gone).unwrap();
        let before = lost();
        lines.write_all(b"nobody reads this\n").unwrap();
        drop(last);
        assert!(lost() > before, "the end waited for it");
    }
}
