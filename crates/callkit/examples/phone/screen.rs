//! What is printed: lines that stay, and on a terminal one line below them that lives.

use std::io::{IsTerminal, Stdout, Write, stdout};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callkit::CallQuality;

/// How often the living line is drawn.
pub(crate) const REFRESH: Duration = Duration::from_millis(200);

/// The output. On a terminal the two lowest lines are the living line and the prompt, where the user types.
pub(crate) struct Screen {
    out: Stdout,
    lives: bool,
    /// Whether living line and prompt are on the screen now.
    drawn: bool,
    living: String,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        let out = stdout();
        let lives = out.is_terminal();
        Screen { out, lives, drawn: false, living: String::new() }
    }

    /// Whether there is a line that lives.
    pub(crate) fn lives(&self) -> bool {
        self.lives
    }

    /// Prints a line with the time in front of it.
    pub(crate) fn event(&mut self, name: &str, what: &str) {
        let line = format!("{}  {name:<18}  {what}", time_of_day());
        self.note(line.trim_end());
    }

    /// Prints a line as it is.
    pub(crate) fn note(&mut self, line: &str) {
        let text = if self.lives {
            // Up to the living line, over it, and both lowest lines anew.
            let up = if self.drawn { "\x1b[1A\r\x1b[J" } else { "\r\x1b[J" };
            self.drawn = true;
            format!("{up}{line}\n{}\n> ", self.living)
        } else {
            format!("{line}\n")
        };
        self.put(&text);
    }

    /// Draws the living line anew; what is being typed below it stays.
    pub(crate) fn live(&mut self, line: String) {
        if !self.lives || (self.drawn && line == self.living) {
            return;
        }
        self.living = line;
        let text = if self.drawn {
            format!("\x1b7\x1b[1A\r\x1b[2K{}\x1b8", self.living)
        } else {
            self.drawn = true;
            format!("{}\n> ", self.living)
        };
        self.put(&text);
    }

    /// The user pressed enter: the terminal has gone one line down.
    pub(crate) fn entered(&mut self) {
        if self.lives && self.drawn {
            self.put("\x1b[2A\r\x1b[J");
            self.drawn = false;
        }
    }

    /// Takes living line and prompt away.
    pub(crate) fn close(&mut self) {
        if self.lives && self.drawn {
            self.put("\x1b[1A\r\x1b[J");
            self.drawn = false;
        }
    }

    fn put(&mut self, text: &str) {
        // Whoever closed the terminal does not read it.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

/// Levels and figures of a call, at most 78 columns.
pub(crate) fn meter(quality: &CallQuality, muted: bool) -> String {
    let rtt = quality.rtt_ms.map_or("–".to_owned(), |ms| format!("{ms:.*} ms", usize::from(ms < 100.0)));
    let input = if muted { "  muted   ".to_owned() } else { bar(quality.input_level) };
    format!(
        "in {input} {:>3}  out {} {:>3}  rtt {rtt}  loss {:.1} %  buffer {:.0} ms",
        quality.input_level,
        bar(quality.output_level),
        quality.output_level,
        quality.loss * 100.0,
        quality.jitter_buffer_ms,
    )
}

fn bar(level: u8) -> String {
    let full = usize::from(level.min(100)).div_ceil(10);
    "█".repeat(full) + &"░".repeat(10 - full)
}

/// The figures of a call, each with its name.
pub(crate) fn figures(quality: &CallQuality) -> String {
    let or_unknown = |value: Option<f32>, unit: &str| value.map_or("unknown".to_owned(), |v| format!("{v:.1} {unit}"));
    format!(
        "rtt {}, lost {} of {} in ({:.1} % lately), lost out {}, jitter {:.1} ms, jitter buffer {:.0} ms (aims at {:.0}), \
         concealed {:.1} %, late {}, recovered {}, {:.1} kbit/s in, {:.1} kbit/s out, {} packets out",
        or_unknown(quality.rtt_ms, "ms"),
        quality.lost_packets,
        quality.received_packets + quality.lost_packets,
        quality.loss * 100.0,
        or_unknown(quality.remote_loss.map(|loss| loss * 100.0), "%"),
        quality.jitter_ms,
        quality.jitter_buffer_ms,
        quality.jitter_buffer_target_ms,
        quality.concealed * 100.0,
        quality.late_packets,
        quality.recovered_packets,
        quality.bitrate_in as f32 / 1_000.0,
        quality.bitrate_out as f32 / 1_000.0,
        quality.sent_packets,
    )
}

/// The time of day in UTC, to the millisecond: two phones on one machine can be laid side by side.
fn time_of_day() -> String {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() % 86_400_000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_fits_beside_any_figures() {
        let mut worst = CallQuality::default();
        (worst.rtt_ms, worst.loss, worst.jitter_buffer_ms) = (Some(1_234.5), 1.0, 999.0);
        (worst.input_level, worst.output_level) = (100, 100);
        for muted in [false, true] {
            let line = meter(&worst, muted);
            assert!(line.chars().count() < 80, "{} columns: {line}", line.chars().count());
        }
        assert!(meter(&CallQuality::default(), false).contains("rtt –"));
    }

    #[test]
    fn bars_have_ten_places() {
        for (level, full) in [(0, 0), (1, 1), (50, 5), (51, 6), (100, 10), (255, 10)] {
            let bar = bar(level);
            assert_eq!((bar.chars().count(), bar.matches('█').count()), (10, full), "{level}");
        }
    }
}
