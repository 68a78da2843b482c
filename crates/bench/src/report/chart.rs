//! The chart: a panel for each of the figures that say the most, a bar for each server.

use std::fmt::Write as _;

use super::number::number;
use super::session::{Session, is_right};
use crate::results::{Kind, Results};

/// What a panel shows.
struct Panel {
    title: &'static str,
    case: &'static str,
    figure: &'static str,
    unit: &'static str,
    more_is_better: bool,
}

const PANELS: &[Panel] = &[
    Panel {
        title: "Runs waited for, 64 clients",
        case: "wait/64",
        figure: "runs_per_s",
        unit: "/s",
        more_is_better: true,
    },
    Panel {
        title: "Runs in the background",
        case: "background",
        figure: "runs_per_s",
        unit: "/s",
        more_is_better: true,
    },
    Panel {
        title: "First event, idle",
        case: "first-event/1",
        figure: "first_p50_ms",
        unit: " ms",
        more_is_better: false,
    },
    Panel {
        title: "First event, 50 at once",
        case: "first-event/50",
        figure: "first_p50_ms",
        unit: " ms",
        more_is_better: false,
    },
    Panel {
        title: "Interrupt: second run's first event",
        case: "interrupt/1",
        figure: "first_event_p50_ms",
        unit: " ms",
        more_is_better: false,
    },
    Panel {
        title: "The same, 50 at once",
        case: "interrupt/50",
        figure: "first_event_p50_ms",
        unit: " ms",
        more_is_better: false,
    },
    Panel {
        title: "500 readers: delay p99",
        case: "fanout/500",
        figure: "delay_p99_ms",
        unit: " ms",
        more_is_better: false,
    },
    Panel {
        title: "One long token stream",
        case: "tokens",
        figure: "events_per_s",
        unit: "/s",
        more_is_better: true,
    },
];

const COLUMNS: usize = 2;
const WIDTH: usize = 520;
const LABEL: usize = 236;
const BAR: usize = 150;
const LINE: usize = 20;
const TITLE: usize = 34;

const STYLE: &str = "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
.t{font-weight:600;font-size:13px}.n{fill:#59636e}.ours{fill:#2f6fde}.peer{fill:#a8b0b9}\
.wrong{fill:none;stroke:#a8b0b9;stroke-dasharray:3 2}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9198a1}.ours{fill:#6ea1ff}\
.peer{fill:#6b7480}.wrong{stroke:#6b7480}}";

/// A bar.
struct Bar<'a> {
    server: &'a Results,
    value: Option<f64>,
    is_right: bool,
}

/// The whole chart. Its ground is transparent, so that it reads on light and on dark.
pub(super) fn svg(session: &Session) -> String {
    let panels: Vec<_> = PANELS
        .iter()
        .map(|panel| (panel, bars(session, panel)))
        .collect();
    let panels: Vec<_> = panels
        .into_iter()
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let most = panels.iter().map(|(_, bars)| bars.len()).max().unwrap_or(0);
    let height = TITLE + most * LINE + 18;
    let (width, total) = (WIDTH * COLUMNS, height * panels.len().div_ceil(COLUMNS));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {total}\" width=\"{width}\" \
        height=\"{total}\" role=\"img\" aria-label=\"Benchmarks\">\n<style>{STYLE}</style>\n"
    );
    for (place, (panel, bars)) in panels.iter().enumerate() {
        let (left, top) = (place % COLUMNS * WIDTH, place / COLUMNS * height);
        let _ = writeln!(svg, "<g transform=\"translate({left} {top})\">");
        draw(&mut svg, panel, bars);
        let _ = writeln!(svg, "</g>");
    }
    svg + "</svg>\n"
}

/// A bar for each server that was asked, also for those that failed.
fn bars<'a>(session: &'a Session, panel: &Panel) -> Vec<Bar<'a>> {
    let asked = session.servers().into_iter().filter_map(|server| {
        let case = server.case(panel.case)?;
        Some(Bar {
            server,
            value: case.figure(panel.figure).map(|figure| figure.median),
            is_right: is_right(case),
        })
    });
    asked.collect()
}

fn draw(svg: &mut String, panel: &Panel, bars: &[Bar<'_>]) {
    let hint = if panel.more_is_better {
        "more is better"
    } else {
        "less is better"
    };
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"20\"><tspan class=\"t\">{}</tspan> <tspan class=\"n\">{hint}</tspan></text>",
        escaped(panel.title)
    );
    let values = bars.iter().filter_map(|bar| bar.value);
    let longest = values.fold(f64::MIN_POSITIVE, f64::max);
    for (place, bar) in bars.iter().enumerate() {
        let top = TITLE + place * LINE;
        let middle = top + 12;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LABEL - 8,
            escaped(&bar.server.target.label)
        );
        let length = bar
            .value
            .map_or(0.0, |value| (value / longest * BAR as f64).max(1.0));
        let class = match bar.server.target.kind {
            _ if !bar.is_right => "wrong",
            Kind::Runloom => "ours",
            Kind::Peer | Kind::Floor => "peer",
        };
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{}\" width=\"{length:.1}\" height=\"13\" rx=\"2\"/>",
            top + 2
        );
        let note = match bar.value {
            None => "failed".to_owned(),
            Some(value) if bar.is_right => format!("{}{}", number(value), panel.unit),
            Some(value) => format!("{}{} wrong", number(value), panel.unit),
        };
        let right = LABEL as f64 + length + 6.0;
        let _ = writeln!(
            svg,
            "<text class=\"n\" x=\"{right:.1}\" y=\"{middle}\">{note}</text>"
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
