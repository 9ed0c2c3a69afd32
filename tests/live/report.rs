//! What came out of a scenario.

use serde_json::Value;
use tests::processes::host::at_us;

/// Figures with their aims, and promises that were kept or broken, in the order in which they are to be read.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

enum Line {
    Note(String),
    Figure { what: String, value: String, aim: String, is_met: bool },
    Promise { what: String, broken: Option<String> },
}

impl Report {
    /// A line of explanation.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Note(text.into()));
    }

    /// A time in ms, and the most it should be.
    pub(crate) fn time(&mut self, what: impl Into<String>, ms: f64, aim_ms: f64) {
        let is_met = ms <= aim_ms;
        self.lines.push(Line::Figure {
            what: what.into(),
            value: format!("{ms:.0} ms"),
            aim: format!("{aim_ms:.0} ms"),
            is_met,
        });
    }

    /// What was measured, where there is nothing it should be.
    pub(crate) fn value(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.lines.push(Line::Figure { what: what.into(), value: value.into(), aim: "–".into(), is_met: true });
    }

    /// Something that has to hold, and what happened instead.
    pub(crate) fn promise(&mut self, what: impl Into<String>, kept: Result<(), String>) {
        self.lines.push(Line::Promise { what: what.into(), broken: kept.err() });
    }

    /// All lines of another report below these.
    pub(crate) fn append(&mut self, other: Report) {
        self.lines.extend(other.lines);
    }

    /// Prints everything; `true` if every promise was kept.
    pub(crate) fn print(&self) -> bool {
        for line in &self.lines {
            match line {
                Line::Note(text) => println!("  {text}"),
                Line::Figure { what, value, aim, is_met } => {
                    let sign = if *is_met { ' ' } else { '>' };
                    println!("    {what:<72}{value:>12}  {sign} aim {aim}");
                }
                Line::Promise { what, broken: None } => println!("    {what:<72}{:>12}", "kept"),
                Line::Promise { what, broken: Some(instead) } => {
                    println!("    {what:<72}{:>12}\n      {instead}", "BROKEN")
                }
            }
        }
        !self.lines.iter().any(|line| matches!(line, Line::Promise { broken: Some(_), .. }))
    }
}

/// From one moment to a later one of the wall clock, both in µs, in ms.
pub(crate) fn ms_between(from_us: u64, to_us: u64) -> f64 {
    (to_us as f64 - from_us as f64) / 1_000.0
}

/// Whether the events of these names came with these details, each once, in this order, and no other.
pub(crate) fn exactly(said: &[Value], names: &[&str], wanted: &[(&str, &str)]) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let heard = said.iter().filter(|line| names.contains(&line["event"].as_str().unwrap_or_default()));
    let came: Vec<(String, String)> = heard.map(|line| (text(&line["event"]), text(&line["detail"]))).collect();
    let as_wanted = came.len() == wanted.len()
        && came.iter().zip(wanted).all(|(came, wanted)| came.0 == wanted.0 && came.1 == wanted.1);
    if as_wanted { Ok(()) } else { Err(format!("came {came:?}, wanted {wanted:?}")) }
}

/// Whether an event has this name and this detail.
pub(crate) fn is(line: &Value, event: &str, detail: &str) -> bool {
    line["event"] == event && line["detail"] == detail
}

/// From a moment until an event, in ms.
pub(crate) fn ms_until(from_us: u64, event: &Value) -> f64 {
    ms_between(from_us, at_us(event))
}
/// p50 and the largest of a sample, in its unit.
pub(crate) fn p50_and_max(sample: &mut [f64]) -> Option<(f64, f64)> {
    sample.sort_unstable_by(f64::total_cmp);
    Some((*sample.get((sample.len().checked_sub(1)?) / 2)?, *sample.last()?))
}

/// The last things that a phone was told, in one line.
pub(crate) fn lately(said: &[Value]) -> String {
    let told = said.iter().filter(|line| !["mark", "quality"].contains(&line["event"].as_str().unwrap_or_default()));
    let told: Vec<&Value> = told.collect();
    let last = told.len().saturating_sub(14);
    let from = told.get(last).map(|line| at_us(line)).unwrap_or_default();
    let one = |line: &&Value| {
        let name = line["event"].as_str().unwrap_or_default();
        let detail = line["detail"].as_str().filter(|detail| !detail.is_empty());
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        format!("{:.1} s {name}{detail}", ms_between(from, at_us(line)) / 1_000.0)
    };
    told[last..].iter().map(one).collect::<Vec<_>>().join(", ")
}
