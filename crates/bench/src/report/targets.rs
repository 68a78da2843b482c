//! What is aimed at, as ratios within one session, and whether it was reached.

use super::number::number;
use super::session::{Session, Shape};
use crate::results::{Case, Results};

/// A target for one server.
#[derive(Debug, PartialEq)]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) server: String,
    pub(super) wanted: Option<Wanted>,
    pub(super) measured: Option<f64>,
    pub(super) unit: &'static str,
}

/// What is wanted, and what that follows from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    bound: f64,
    at_least: bool,
    because: String,
}

impl Wanted {
    fn text(&self, unit: &str) -> String {
        let sign = if self.at_least { "≥" } else { "≤" };
        let because = match self.because.as_str() {
            "" => String::new(),
            because => format!(" ({because})"),
        };
        format!("{sign} {}{unit}{because}", number(self.bound))
    }
}

impl Check {
    /// Whether it was met. None if something was not measured.
    pub(super) fn is_met(&self) -> Option<bool> {
        let (wanted, measured) = (self.wanted.as_ref()?, self.measured?);
        Some(if wanted.at_least {
            measured >= wanted.bound
        } else {
            measured <= wanted.bound
        })
    }

    pub(super) fn wanted_text(&self) -> String {
        let wanted = self.wanted.as_ref();
        wanted.map_or("—".to_owned(), |wanted| wanted.text(self.unit))
    }

    pub(super) fn measured_text(&self) -> String {
        let measured = self.measured;
        measured.map_or("—".to_owned(), |value| {
            format!("{}{}", number(value), self.unit)
        })
    }

    /// Met or not, and by how much.
    pub(super) fn verdict(&self) -> String {
        let (Some(wanted), Some(measured), Some(is_met)) =
            (&self.wanted, self.measured, self.is_met())
        else {
            return "not measured".to_owned();
        };
        let margin = if wanted.at_least {
            measured / wanted.bound
        } else {
            wanted.bound / measured
        };
        match (is_met, margin.is_finite() && margin > 0.0) {
            (true, true) => format!("met, {}× better", number(margin)),
            (true, false) => "met".to_owned(),
            (false, true) => format!("**not met**, {}× short", number(1.0 / margin)),
            (false, false) => "**not met**".to_owned(),
        }
    }
}

/// Collects checks.
struct Checks<'a> {
    session: &'a Session,
    all: Vec<Check>,
}

/// A figure of a case.
#[derive(Clone, Copy)]
struct Figure<'a> {
    case: &'a str,
    name: &'a str,
    unit: &'static str,
}

const RUNS: &str = "runs_per_s";

/// All targets, checked.
pub(super) fn checks(session: &Session) -> Vec<Check> {
    let mut checks = Checks {
        session,
        all: Vec::new(),
    };
    checks.throughput();
    checks.first_events();
    checks.interrupts();
    checks.readers();
    checks.memory();
    checks.all
}

const SHAPES: [Shape; 3] = [Shape::Dev, Shape::One, Shape::Two];

impl Checks<'_> {
    fn check(
        &mut self,
        what: &str,
        server: (&str, Shape),
        figure: Figure<'_>,
        wanted: Option<Wanted>,
    ) {
        let (graphs, shape) = server;
        let results = self.session.ours(graphs, shape);
        let missing = format!("({graphs} graphs, {})", shape.name());
        self.all.push(Check {
            what: what.to_owned(),
            server: results.map_or(missing, |results| results.target.label.clone()),
            wanted,
            measured: results.and_then(|results| results.median(figure.case, figure.name)),
            unit: figure.unit,
        });
    }

    /// `factor` times what the in-memory reference did.
    fn of_reference(&self, figure: Figure<'_>, factor: f64, at_least: bool) -> Option<Wanted> {
        let value = self.session.reference()?.median(figure.case, figure.name)?;
        Some(times(factor, value, "the reference's", at_least))
    }

    /// At most `factor` times what the best peer did that did it right.
    fn of_best(&self, figure: Figure<'_>, factor: f64, durable: bool) -> Option<Wanted> {
        let best = self
            .session
            .best_peer(figure.case, figure.name, false, durable);
        best.map(|(value, results)| times(factor, value, &whose(results), false))
    }

    fn throughput(&mut self) {
        let figure = Figure {
            case: "wait/64",
            name: RUNS,
            unit: "/s",
        };
        for (factor, graphs, shape) in [
            (20.0, "rust", Shape::Dev),
            (10.0, "rust", Shape::One),
            (10.0, "rust", Shape::Two),
            (2.5, "python", Shape::One),
            (2.5, "python", Shape::Two),
        ] {
            let wanted = self.of_reference(figure, factor, true);
            self.check(
                "Runs waited for, 64 clients",
                (graphs, shape),
                figure,
                wanted,
            );
        }
        let floor = self.session.floor().and_then(best_floor);
        let wanted = floor.map(|floor| times(0.4, floor, "the floor's", true));
        let figure = Figure {
            case: "background",
            ..figure
        };
        for shape in [Shape::One, Shape::Two] {
            self.check(
                "Runs in the background",
                ("rust", shape),
                figure,
                wanted.clone(),
            );
        }
    }

    fn first_events(&mut self) {
        for (case, factor, what) in [
            ("first-event/1", 1.0 / 3.0, "First event, idle"),
            ("first-event/50", 1.0 / 20.0, "First event, 50 at once"),
        ] {
            let figure = Figure {
                case,
                name: "first_p50_ms",
                unit: " ms",
            };
            let wanted = self.of_best(figure, factor, false);
            for shape in SHAPES {
                self.check(what, ("rust", shape), figure, wanted.clone());
            }
        }
    }

    fn interrupts(&mut self) {
        for (case, at_once, share) in [("interrupt/1", 1, 0.1), ("interrupt/50", 50, 0.02)] {
            for (name, what) in [
                ("answer_p50_ms", "answered"),
                ("stopped_p50_ms", "first run seen over"),
                ("first_event_p50_ms", "second run's first event"),
                ("wrong", "wrong outcomes"),
            ] {
                let unit = if name == "wrong" { "" } else { " ms" };
                let figure = Figure { case, name, unit };
                let wanted = match name {
                    "wrong" => Some(at_most(0.0)),
                    "first_event_p50_ms" => self.of_best(figure, share, true),
                    _ => self.of_reference(figure, 0.5, false),
                };
                let what = format!("Interrupt, {at_once} at once: {what}");
                for shape in SHAPES {
                    self.check(&what, ("rust", shape), figure, wanted.clone());
                }
            }
        }
    }

    fn readers(&mut self) {
        let delay = |case| Figure {
            case,
            name: "delay_p99_ms",
            unit: " ms",
        };
        // Both are held to what the best peer did with the fewer readers.
        for (case, factor) in [("fanout/500", 1.0), ("fanout/2000", 4.0)] {
            let readers = case.trim_start_matches("fanout/");
            let wanted = self.of_best(delay("fanout/500"), factor, false);
            let (lost, peak) = ("lost", "server_peak_mib");
            for (figure, what, wanted) in [
                (delay(case), "delay p99", wanted),
                (
                    Figure {
                        case,
                        name: lost,
                        unit: "",
                    },
                    "events lost",
                    Some(at_most(0.0)),
                ),
                (
                    Figure {
                        case,
                        name: peak,
                        unit: " MiB",
                    },
                    "memory",
                    Some(at_most(150.0)),
                ),
            ] {
                let what = format!("{readers} readers: {what}");
                for shape in SHAPES {
                    self.check(&what, ("rust", shape), figure, wanted.clone());
                }
            }
        }
    }

    fn memory(&mut self) {
        for (case, name, unit, what, wanted) in [
            (
                "rest",
                "memory_each_mib",
                " MiB",
                "Memory at rest, each process",
                at_most(40.0),
            ),
            (
                "soak",
                "memory_growth",
                "",
                "Memory grows from a fifth of a soak on",
                at_most(0.05),
            ),
            (
                "soak",
                "burst_kept",
                "",
                "Speed kept after a soak",
                at_least(0.9),
            ),
        ] {
            for shape in SHAPES {
                let figure = Figure { case, name, unit };
                self.check(what, ("rust", shape), figure, Some(wanted.clone()));
            }
        }
    }
}

fn at_most(bound: f64) -> Wanted {
    Wanted {
        bound,
        at_least: false,
        because: String::new(),
    }
}

fn at_least(bound: f64) -> Wanted {
    Wanted {
        at_least: true,
        ..at_most(bound)
    }
}

fn times(factor: f64, value: f64, whose: &str, at_least: bool) -> Wanted {
    let share = if factor < 0.35 {
        format!("1/{}", number((1.0 / factor).round()))
    } else {
        number(factor)
    };
    Wanted {
        bound: factor * value,
        at_least,
        because: format!("{share} × {whose} {}", number(value)),
    }
}

fn whose(results: &Results) -> String {
    format!("{}'s", results.target.label)
}

/// What Postgres did with the number of connections that suits it best.
fn best_floor(floor: &Results) -> Option<f64> {
    let sql = floor
        .cases
        .iter()
        .filter(|case| case.name.starts_with("sql/"));
    let runs = sql.filter_map(|case: &Case| Some(case.figure(RUNS)?.median));
    runs.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: f64, at_least: bool, measured: Option<f64>) -> Check {
        Check {
            what: String::new(),
            server: String::new(),
            wanted: Some(Wanted {
                bound,
                at_least,
                because: "2 × the reference's 50".to_owned(),
            }),
            measured,
            unit: " ms",
        }
    }

    #[test]
    fn a_verdict_says_by_how_much() {
        assert_eq!(
            check(100.0, true, Some(250.0)).verdict(),
            "met, 2.50× better"
        );
        assert_eq!(
            check(100.0, true, Some(50.0)).verdict(),
            "**not met**, 2× short"
        );
        assert_eq!(check(10.0, false, Some(5.0)).verdict(), "met, 2× better");
        assert_eq!(
            check(10.0, false, Some(40.0)).verdict(),
            "**not met**, 4× short"
        );
        assert_eq!(check(0.0, false, Some(0.0)).verdict(), "met");
        assert_eq!(check(0.0, false, Some(3.0)).verdict(), "**not met**");
        assert_eq!(check(10.0, false, None).verdict(), "not measured");
    }

    #[test]
    fn what_is_wanted_says_what_it_follows_from() {
        let wanted = check(100.0, true, None).wanted_text();
        assert_eq!(wanted, "≥ 100 ms (2 × the reference's 50)");
        let third = times(1.0 / 3.0, 15.0, "the best's", false);
        assert_eq!(third.text(" ms"), "≤ 5 ms (1/3 × the best's 15)");
    }

    #[test]
    fn the_soak_may_shrink() {
        let growth = Check {
            wanted: Some(at_most(0.05)),
            ..check(0.0, false, Some(-0.2))
        };
        assert_eq!(growth.verdict(), "met");
    }
}
