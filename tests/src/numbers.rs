//! Numbers: as the page on them has them, and as a process shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A number: what kind it is, and what it is labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The names of its labels.
    pub labels: BTreeSet<String>,
}

/// Numbers by their names.
pub type Numbers = BTreeMap<String, Number>;

/// The words of a line between backticks.
pub fn words(line: &str) -> Vec<String> {
    let words = line.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The table of `docs/metrics.md` below `root`.
pub fn documented(root: &Path) -> Numbers {
    let page = std::fs::read_to_string(root.join("docs/metrics.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| `runloom_"));
    let mut found = Numbers::new();
    for row in rows {
        let cells = row.trim_matches('|').splitn(4, '|').map(str::trim);
        let cells: Vec<_> = cells.collect();
        let [names, labels, kind, is] = cells[..] else {
            panic!("not four cells: {row}");
        };
        assert!(!is.is_empty(), "{row}");
        let number = Number {
            kind: kind.to_owned(),
            labels: words(labels).into_iter().collect(),
        };
        for name in words(names) {
            let before = found.insert(name, number.clone());
            assert_eq!(before, None, "twice: {row}");
        }
    }
    found
}

/// What a process shows of itself.
pub struct Page(String);

impl Page {
    /// What stands on `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// All samples: name, labels, value.
    fn samples(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let lines = self.0.lines();
        let samples = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
        samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (name, labels.trim_end_matches('}'), value)
        })
    }

    /// Which numbers there are.
    pub fn numbers(&self) -> Numbers {
        let kinds = self.0.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some((name, kind))
        });
        let kinds: BTreeMap<_, _> = kinds.collect();
        let mut found = Numbers::new();
        for (name, labels, _) in self.samples() {
            let parts = ["_bucket", "_sum", "_count"].iter();
            let whole = parts.filter_map(|part| name.strip_suffix(part));
            let name = whole
                .into_iter()
                .find(|whole| kinds.get(whole) == Some(&"histogram"))
                .unwrap_or(name);
            // No value of ours has a quotation mark followed by a comma.
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            let labels = labels.map(|(label, _)| label.to_owned());
            let number = Number {
                kind: kinds.get(name).copied().unwrap_or("untyped").to_owned(),
                labels: labels.filter(|label| label != "le").collect(),
            };
            found.insert(name.to_owned(), number);
        }
        found
    }

    /// The value of a number, if it is there: of the one series whose labels have all of `labels`.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |found: &str, (label, value): &(&str, &str)| {
            found.contains(&format!("{label}=\"{value}\""))
        };
        let mut samples = self.samples().filter(|(found, with, _)| {
            *found == name && labels.iter().all(|label| has(with, label))
        });
        let value = samples.next()?.2.parse().expect("a number");
        assert!(
            samples.next().is_none(),
            "{name}{labels:?} is more than one"
        );
        Some(value)
    }
}
