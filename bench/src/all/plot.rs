//! Plots of distributions, side by side, on a logarithmic scale.

use std::io;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Row, time};

/// Width of the bars, what the names take on the left at least and for each letter, and the figures on the right.
const BARS: u32 = 600;
const LEAST_NAMES: u32 = 210;
const LETTER: u32 = 8;
const FIGURES: u32 = 90;

/// Height of a way, and of the scale below.
const LINE: u32 = 24;
const SCALE: u32 = 30;

/// A picture of `rows`, one line for each: a bar to the median, a line to p99, a dot at the longest.
pub(super) fn bars(rows: &[&Row]) -> io::Result<String> {
    let mut picture = String::new();
    let names: Vec<String> = rows.iter().map(|row| name(row, rows)).collect();
    let longest = names.iter().map(|name| name.chars().count() as u32).max().unwrap_or(0);
    let labels = LEAST_NAMES.max(LETTER * (longest + 1));
    let size = Size { labels, height: rows.len() as u32 * LINE + SCALE };
    draw(&mut picture, rows, &names, size).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(picture)
}

/// What a row is called beside the others of its plot.
fn name(row: &Row, rows: &[&Row]) -> String {
    let namesakes = rows.iter().filter(|other| other.way == row.way).count();
    match row.more.depth {
        Some(depth) if namesakes > 1 => format!("{}, {depth}", row.way),
        _ => row.way.clone(),
    }
}

#[derive(Clone, Copy)]
struct Size {
    /// What the names take.
    labels: u32,
    height: u32,
}

impl Size {
    fn width(self) -> u32 {
        self.labels + BARS + FIGURES
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(
    picture: &'a mut String,
    rows: &[&Row],
    names: &[String],
    size: Size,
) -> Result<(), Failed<'a>> {
    let height = size.height;
    let area = SVGBackend::with_string(picture, (size.width(), height)).into_drawing_area();
    let figures = rows.iter().flat_map(|row| [row.min_ns, row.max_ns]).filter(|&ns| ns > 0.0);
    let (least, most) =
        figures.fold((f64::MAX, 1.0f64), |(least, most), ns| (least.min(ns), most.max(ns)));
    // Whole decades: the scale begins and ends at a power of ten.
    let (first, last) = (least.min(most).log10().floor(), most.log10().ceil());
    let last = last.max(first + 1.0);
    let chart = area.margin(0, 0, size.labels as i32, FIGURES as i32);
    let scale = Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(
        first..last,
        0.0..f64::from(height),
        chart.get_pixel_range(),
    );
    let chart = chart.apply_coord_spec(scale);
    for decade in first as i32..=last as i32 {
        let at = f64::from(decade);
        let bottom = f64::from(height - SCALE);
        chart.draw(&PathElement::new([(at, 0.0), (at, bottom)], BLACK.mix(0.15)))?;
        let style = text(HPos::Center, VPos::Top);
        chart.draw(&Text::new(time(10f64.powi(decade)), (at, bottom + 6.0), style))?;
    }
    for (at, (row, name)) in rows.iter().zip(names).enumerate() {
        line(&area, name, row.median_ns, at as i32 * LINE as i32, size)?;
        let (top, middle) = (f64::from(at as u32 * LINE), f64::from(at as u32 * LINE + LINE / 2));
        let place = |ns: f64| ns.max(10f64.powf(first)).log10();
        let bar = [(first, top + 5.0), (place(row.median_ns), top + f64::from(LINE) - 5.0)];
        chart.draw(&Rectangle::new(bar, colour(&row.way).filled()))?;
        let tail = [(place(row.median_ns), middle), (place(row.p99_ns), middle)];
        chart.draw(&PathElement::new(tail, colour(&row.way).stroke_width(2)))?;
        let most = (place(row.max_ns), middle);
        chart.draw(&Circle::new(most, 2, BLACK.mix(0.6).filled()))?;
    }
    area.present()
}

/// The name and the median of a way.
fn line<'a>(
    area: &Area<'a>,
    name: &str,
    median: f64,
    top: i32,
    size: Size,
) -> Result<(), Failed<'a>> {
    let middle = top + LINE as i32 / 2;
    let style = text(HPos::Right, VPos::Center);
    area.draw(&Text::new(name.to_owned(), (size.labels as i32 - 8, middle), style))?;
    let style = text(HPos::Right, VPos::Center);
    area.draw(&Text::new(time(median), (size.width() as i32 - 4, middle), style))
}

fn text(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", 13).into_text_style(&(BARS, LINE)).pos(Pos::new(horizontal, vertical))
}

/// Ours are blue, what everything is compared with grey, the others orange.
fn colour(way: &str) -> RGBColor {
    const OURS: [&str; 13] = [
        "submit",
        "threadlet",
        "syslet",
        "unblock",
        "chain",
        "kevent",
        "crew",
        "ours",
        "follow",
        "pinned",
        "queue",
        "calls",
        "splice",
    ];
    const PLAIN: [&str; 4] = ["plain", "std", "alone", "system"];
    if !way.starts_with("hop") && OURS.iter().any(|name| way.contains(name)) {
        RGBColor(52, 101, 164)
    } else if PLAIN.iter().any(|name| way.contains(name)) {
        RGBColor(136, 138, 133)
    } else {
        RGBColor(206, 132, 60)
    }
}
