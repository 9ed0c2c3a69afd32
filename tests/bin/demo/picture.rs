//! One picture of the call: what was said and heard, and how the jitter buffer and the loss went.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::Story;
use crate::check::{Recordings, Track};
use tests::processes::host::at_us;

const SIZE: (u32, u32) = (1_200, 1_000);
const ALICE: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const BOB: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
/// Points of a waveform: about two for each pixel.
const POINTS: usize = 2_400;

pub(crate) fn draw(story: &Story, recordings: &Recordings, path: &Path) -> Result<(), String> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: String| format!("{}: {error}", path.display());
    area.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
    let start = story.start_us();
    let end = [&story.alice, &story.bob].into_iter().filter_map(|said| said.last()).map(at_us).max().unwrap_or(start);
    let seconds = (end - start) as f64 / 1e6;
    let rows = area.split_evenly((6, 1));
    let tracks = [
        ("alice said", recordings.alice_said.as_ref(), ALICE),
        ("bob heard", Some(&recordings.bob_heard), ALICE),
        ("bob said", Some(&recordings.bob_said), BOB),
        ("alice heard", recordings.alice_heard.as_ref(), BOB),
    ];
    let muted = [story.mute_us, story.unmute_us].map(|us| (us as f64 - start as f64) / 1e6);
    for ((name, track, colour), row) in tracks.into_iter().zip(&rows) {
        waveform(row, name, track, colour, (start, seconds), muted).map_err(failed)?;
    }
    let buffers = [("alice", &story.alice, BOB), ("bob", &story.bob, ALICE)];
    figures(&rows[4], "jitter buffer, ms", "buffer_ms", 1.0, 60.0, &buffers, (start, seconds)).map_err(failed)?;
    figures(&rows[5], "loss, %   (time in s)", "loss", 100.0, 5.0, &buffers, (start, seconds)).map_err(failed)?;
    area.present().map_err(|error| failed(error.to_string()))
}

fn waveform(
    row: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    name: &str,
    track: Option<&Track>,
    colour: RGBColor,
    (start, seconds): (u64, f64),
    muted: [f64; 2],
) -> Result<(), String> {
    let mut chart = ChartBuilder::on(row)
        .caption(name, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(20)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..seconds, -1.0_f64..1.0)
        .map_err(|error| error.to_string())?;
    chart.configure_mesh().disable_mesh().y_labels(3).x_labels(12).draw().map_err(|error| error.to_string())?;
    if name.starts_with("alice said") || name.starts_with("bob heard") {
        let shade = Rectangle::new([(muted[0], -1.0), (muted[1], 1.0)], BLACK.mix(0.08).filled());
        chart.draw_series([shade]).map_err(|error| error.to_string())?;
    }
    let Some(track) = track else { return Ok(()) };
    let offset = (track.start_us as f64 - start as f64) / 1e6;
    let step = (track.samples.len() / POINTS).max(1);
    let points = track.samples.chunks(step).enumerate().flat_map(|(at, chunk)| {
        let time = offset + (at * step) as f64 / 48_000.0;
        let (low, high) = chunk.iter().fold((0.0_f32, 0.0_f32), |(low, high), s| (low.min(*s), high.max(*s)));
        [(time, f64::from(low)), (time, f64::from(high))]
    });
    let visible = points.filter(|(time, _)| (0.0..=seconds).contains(time));
    chart.draw_series(LineSeries::new(visible, colour)).map_err(|error| error.to_string())?;
    Ok(())
}

fn figures(
    row: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    name: &str,
    key: &str,
    factor: f64,
    least_top: f64,
    phones: &[(&str, &Vec<Value>, RGBColor)],
    (start, seconds): (u64, f64),
) -> Result<(), String> {
    let points = |said: &[Value]| -> Vec<(f64, f64)> {
        let qualities = said.iter().filter(|line| line["event"] == "quality");
        qualities
            .filter_map(|line| Some(((at_us(line) as f64 - start as f64) / 1e6, line[key].as_f64()? * factor)))
            .collect()
    };
    let all: Vec<_> = phones.iter().map(|(who, said, colour)| (*who, points(said), *colour)).collect();
    let top = all.iter().flat_map(|(_, points, _)| points).map(|(_, y)| *y).fold(least_top, f64::max);
    let mut chart = ChartBuilder::on(row)
        .caption(name, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(20)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..seconds, 0.0..top)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .y_labels(4)
        .x_labels(12)
        .draw()
        .map_err(|error| error.to_string())?;
    for (who, points, colour) in all {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(|error| error.to_string())?
            .label(who)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).draw().map_err(|error| error.to_string())?;
    Ok(())
}
