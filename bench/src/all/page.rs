//! The report as a page that needs nothing else, and as Markdown.

use std::fmt::Write;
use std::io;

use super::Taken;
use super::plot::bars;
use crate::report::{Report, Row, remarks, time};

const STYLE: &str = "\
body { font: 15px/1.45 sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .5em 0 1.5em; font-size: 13px; }
th, td { padding: 2px 8px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
td:last-child { text-align: left; white-space: normal; }
svg { max-width: 100%; height: auto; }
pre { background: #f4f4f2; padding: .6em; overflow-x: auto; }
.fault { color: #a40000; }
nav a { margin-right: 1em; }
summary { cursor: pointer; }";

const HEADINGS: [&str; 9] =
    ["work", "way", "n", "min", "median", "p90", "p99", "max", "over the first"];

/// The page.
pub(super) fn html(all: &[Taken]) -> io::Result<String> {
    let mut page = String::new();
    write!(page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">").ok();
    write!(page, "<title>bench</title><style>\n{STYLE}\n</style></head><body>\n").ok();
    writeln!(page, "<h1>What syslet costs</h1>").ok();
    if let Some(report) = all.iter().find_map(|taken| taken.report.as_ref()) {
        writeln!(page, "<pre>{}</pre>", escaped(&report.machine.to_string())).ok();
    }
    page.push_str(
        "<p>A bar ends at the median, its line at the 99th of a hundred, the dot is the longest; the \
         scales are logarithmic. Ours are blue, what they are compared with is grey, others are orange. \
         Ratios are medians over neighbouring pairs of one run.</p>\n<nav>",
    );
    for taken in all {
        write!(page, "<a href=\"#{0}\">{0}</a>", taken.part).ok();
    }
    page.push_str("</nav>\n");
    for taken in all {
        part(&mut page, taken)?;
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn part(page: &mut String, taken: &Taken) -> io::Result<()> {
    writeln!(page, "<h2 id=\"{0}\">{0}</h2>", taken.part).ok();
    writeln!(page, "<pre>bench {}    # {} s</pre>", escaped(&taken.command), taken.seconds).ok();
    if !taken.said.is_empty() {
        writeln!(page, "<p class=\"fault\">{}</p>", escaped(&taken.said)).ok();
    }
    let Some(report) = &taken.report else { return Ok(()) };
    let machine = report.machine.to_string();
    let when = machine.lines().last().unwrap_or("");
    writeln!(page, "<p>{}; {}</p>", escaped(when), escaped(&report.note)).ok();
    for (work, rows) in works(report) {
        writeln!(page, "<h3>{}</h3>\n{}", escaped(work), bars(&rows)?).ok();
    }
    page.push_str("<details><summary>figures</summary><table><tr>");
    for heading in HEADINGS.iter().chain(&[""]) {
        write!(page, "<th>{heading}</th>").ok();
    }
    page.push_str("</tr>\n");
    for row in &report.rows {
        page.push_str("<tr>");
        for cell in cells(row) {
            write!(page, "<td>{}</td>", escaped(&cell)).ok();
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></details>\n");
    Ok(())
}

/// The tables alone.
pub(super) fn markdown(all: &[Taken]) -> String {
    let mut text = String::new();
    if let Some(report) = all.iter().find_map(|taken| taken.report.as_ref()) {
        writeln!(text, "```text\n{}\n```\n", report.machine).ok();
    }
    for taken in all {
        writeln!(text, "## {}\n\n`bench {}`, {} s\n", taken.part, taken.command, taken.seconds)
            .ok();
        if !taken.said.is_empty() {
            writeln!(text, "**{}**\n", taken.said.replace('\n', " ")).ok();
        }
        let Some(report) = &taken.report else { continue };
        writeln!(text, "| {} | |", HEADINGS.join(" | ")).ok();
        writeln!(text, "|---|---|{}---|", "--:|".repeat(HEADINGS.len() - 2)).ok();
        for row in &report.rows {
            writeln!(text, "| {} |", cells(row).map(|cell| cell.replace('|', "/")).join(" | "))
                .ok();
        }
        text.push('\n');
    }
    text
}

/// Rows by their work, in the order in which works come first.
fn works(report: &Report) -> Vec<(&str, Vec<&Row>)> {
    let mut works: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in report.rows.iter().filter(|row| row.n > 0) {
        match works.iter_mut().find(|(work, _)| *work == row.work) {
            Some((_, rows)) => rows.push(row),
            None => works.push((&row.work, vec![row])),
        }
    }
    works
}

fn cells(row: &Row) -> [String; HEADINGS.len() + 1] {
    let ratio = row.more.ratio_median.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
    [
        row.work.clone().into_owned(),
        row.way.clone(),
        row.n.to_string(),
        time(row.min_ns),
        time(row.median_ns),
        time(row.p90_ns),
        time(row.p99_ns),
        time(row.max_ns),
        ratio,
        remarks(row),
    ]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Samples;

    fn taken() -> Taken {
        let mut samples = Samples::default();
        (1..=100).for_each(|at| samples.push(f64::from(at) * 100.0));
        let rows = vec![
            Row::new("pread4k", "plain <&>", &samples),
            Row::new("pread4k", "submit", &samples),
        ];
        let machine = crate::machine::Machine::for_tests();
        let report = Some(Report::new("inline", true, machine, rows, Vec::new()));
        Taken {
            part: "inline",
            command: "inline --quick".to_owned(),
            seconds: 1,
            report,
            said: String::new(),
        }
    }

    #[test]
    fn the_page_has_a_picture_of_each_work_and_loads_nothing() {
        let failed = Taken { report: None, said: "no <FUSE>".to_owned(), ..taken() };
        let page = html(&[taken(), failed]).expect("drawn");
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("plain &lt;&amp;&gt;") && page.contains("no &lt;FUSE&gt;"));
        assert!(page.contains(">5.0 us<"), "the median is told");
        let loads = ["src=", "@import", "url(", "<script", "<link"];
        assert!(loads.iter().all(|load| !page.contains(load)), "it needs nothing else");
    }

    #[test]
    fn tables_have_a_cell_for_each_heading() {
        let text = markdown(&[taken()]);
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 4, "{text}");
        let count = |line: &&str| line.matches('|').count();
        assert!(lines.iter().all(|line| count(line) == count(&lines[0])), "{text}");
    }
}
