//! What a measurement found, as it is written to a file and read from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// All that was measured of one target.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Results {
    pub(crate) target: Target,
    pub(crate) machine: Machine,
    /// When it began, in UTC.
    pub(crate) taken: String,
    /// Whether it was a quick look: fewer and shorter rounds.
    pub(crate) quick: bool,
    /// How memory is counted: `PSS` or `RSS`.
    pub(crate) memory: String,
    pub(crate) cases: Vec<Case>,
}

/// What was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    /// The language of the graphs.
    pub(crate) graphs: String,
    pub(crate) version: String,
    pub(crate) settings: BTreeMap<String, String>,
    /// How many gateways and how many root processes it has.
    pub(crate) gateways: usize,
    pub(crate) processes: usize,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// This project's server.
    Runloom,
    /// Somebody else's server.
    Peer,
    /// What a server is built on.
    #[value(skip)]
    Floor,
}

/// A scenario with its size, such as `wait/64`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Round>,
    /// Why it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// The figures of one round, by their names. A name ends with its unit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Round(BTreeMap<String, f64>);

impl Round {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            // Digits beyond these are noise.
            self.0.insert(name.to_owned(), (value * 1e4).round() / 1e4);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Case {
    /// The figure of that name, if any round has it.
    pub(crate) fn figure(&self, name: &str) -> Option<Figure> {
        let mut values: Vec<_> = self
            .rounds
            .iter()
            .filter_map(|round| round.get(name))
            .collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Figure { median, min, max })
    }

    /// The share of samples with a wrong outcome, over all rounds. None if that was not looked at.
    pub(crate) fn wrong(&self) -> Option<(f64, f64)> {
        let sum = |name: &str| {
            let values: Vec<_> = self
                .rounds
                .iter()
                .filter_map(|round| round.get(name))
                .collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>())
        };
        Some((sum("wrong")?, sum("samples")?))
    }
}

impl Results {
    /// The case of that name.
    pub(crate) fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// Adds a case, in the place of an earlier one of that name.
    pub(crate) fn put(&mut self, case: Case) {
        match self
            .cases
            .iter_mut()
            .find(|earlier| earlier.name == case.name)
        {
            Some(earlier) => *earlier = case,
            None => self.cases.push(case),
        }
    }

    /// The median of a figure.
    pub(crate) fn median(&self, case: &str, figure: &str) -> Option<f64> {
        Some(self.case(case)?.figure(figure)?.median)
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))
    }

    /// Reads files, and all files of folders that end with `.json`, in the order of their names.
    pub(crate) fn read_all(places: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let mut files = Vec::new();
        for place in places {
            if place.is_dir() {
                let mut found = Vec::new();
                for entry in std::fs::read_dir(place)? {
                    found.push(entry?.path());
                }
                found.retain(|path| path.extension().is_some_and(|end| end == "json"));
                found.sort();
                files.append(&mut found);
            } else {
                files.push(place.clone());
            }
        }
        let read = files.iter().map(|file| {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(values: &[f64]) -> Case {
        let rounds = values.iter().map(|&value| {
            let mut round = Round::default();
            round.set("p50_ms", value);
            round
        });
        Case {
            name: "wait/1".to_owned(),
            rounds: rounds.collect(),
            failed: None,
        }
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        let figure = |median, min, max| Some(Figure { median, min, max });
        assert_eq!(
            case(&[3.0, 1.0, 2.0]).figure("p50_ms"),
            figure(2.0, 1.0, 3.0)
        );
        assert_eq!(case(&[4.0, 1.0]).figure("p50_ms"), figure(2.5, 1.0, 4.0));
        assert_eq!(case(&[]).figure("p50_ms"), None);
        assert_eq!(case(&[1.0]).figure("p99_ms"), None);
    }

    #[test]
    fn what_is_no_number_is_not_noted() {
        let mut round = Round::default();
        round.set("x", f64::NAN);
        round.set("y", 1.0 / 3.0);
        assert_eq!((round.get("x"), round.get("y")), (None, Some(0.3333)));
    }

    #[test]
    fn a_file_reads_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/one.json");
        let results = Results {
            target: Target {
                name: "one".to_owned(),
                label: "One".to_owned(),
                kind: Kind::Peer,
                graphs: "python".to_owned(),
                version: "1".to_owned(),
                settings: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                gateways: 1,
                processes: 2,
            },
            machine: Machine::here(),
            taken: "2026-01-01".to_owned(),
            quick: true,
            memory: "PSS".to_owned(),
            cases: vec![case(&[1.5])],
        };
        results.write(&file).unwrap();
        std::fs::write(folder.path().join("deep/notes.txt"), "not ours").unwrap();
        let mut read = Results::read_all(&[folder.path().join("deep")]).unwrap();
        assert_eq!(read, [results]);
        read[0].put(case(&[7.0]));
        assert_eq!(
            read[0].cases,
            [case(&[7.0])],
            "measured again, it counts once"
        );
    }
}
