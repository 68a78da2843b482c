//! All results of one session, and who is who among them.

use crate::results::{Case, Kind, Results};

/// A greater share of wrong outcomes means that a server does not do what was asked for.
const MOST_WRONG: f64 = 0.05;

/// How a server of ours is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One process and its file.
    Dev,
    /// One process on Postgres and NATS.
    One,
    /// Several gateways and workers on Postgres and NATS.
    Two,
}

impl Shape {
    /// What it is called where there is no server of that shape.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::One => "one process",
            Self::Two => "gateways and workers",
        }
    }
}

/// All results of one session.
pub(super) struct Session {
    all: Vec<Results>,
}

impl Session {
    /// Ours first; the rest stays in its order.
    pub(super) fn of(mut all: Vec<Results>) -> Self {
        all.sort_by_key(|results| {
            let shape = shape(results).map_or(3, |shape| shape as u8);
            (
                results.target.kind as u8,
                results.target.graphs != "rust",
                shape,
            )
        });
        Self { all }
    }

    /// All servers, without the floor.
    pub(super) fn servers(&self) -> Vec<&Results> {
        let servers = self.all.iter();
        servers
            .filter(|results| results.target.kind != Kind::Floor)
            .collect()
    }

    pub(super) fn floor(&self) -> Option<&Results> {
        self.all
            .iter()
            .find(|results| results.target.kind == Kind::Floor)
    }

    fn peers(&self) -> impl Iterator<Item = &Results> {
        self.all
            .iter()
            .filter(|results| results.target.kind == Kind::Peer)
    }

    /// The published server that keeps everything in memory.
    pub(super) fn reference(&self) -> Option<&Results> {
        let is_reference = |name: &str| name.contains("reference") || name.contains("inmem");
        self.peers()
            .find(|results| is_reference(&results.target.name))
    }

    /// Servers of ours with graphs in that language and of that shape.
    pub(super) fn ours(&self, graphs: &str, wanted: Shape) -> Option<&Results> {
        self.all.iter().find(|results| {
            let is_ours = results.target.kind == Kind::Runloom && results.target.graphs == graphs;
            is_ours && shape(results) == Some(wanted)
        })
    }

    /// The best that a peer did, of those that did it right, and who that was. Only those that keep what
    /// they accept, if `durable`.
    pub(super) fn best_peer(
        &self,
        case: &str,
        figure: &str,
        more_is_better: bool,
        durable: bool,
    ) -> Option<(f64, &Results)> {
        let able = self
            .peers()
            .filter(|results| !durable || is_durable(results));
        let figures = able.filter_map(|results| {
            let found = results.case(case)?;
            let value = found.figure(figure)?.median;
            (is_right(found)).then_some((value, results))
        });
        if more_is_better {
            figures.max_by(|one, other| one.0.total_cmp(&other.0))
        } else {
            figures.min_by(|one, other| one.0.total_cmp(&other.0))
        }
    }
}

/// How a server of ours is set up.
fn shape(results: &Results) -> Option<Shape> {
    let target = &results.target;
    match target.kind {
        Kind::Runloom if target.gateways > 1 => Some(Shape::Two),
        Kind::Runloom if target.name.contains("dev") => Some(Shape::Dev),
        Kind::Runloom => Some(Shape::One),
        Kind::Peer | Kind::Floor => None,
    }
}

/// Whether a server keeps what it has accepted when it dies. Who does not says `storage=memory…`.
fn is_durable(results: &Results) -> bool {
    let storage = results.target.settings.get("storage");
    storage.is_none_or(|storage| !storage.starts_with("memory"))
}

/// Whether a server did what was asked for, or nearly always.
pub(super) fn is_right(case: &Case) -> bool {
    case.failed.is_none()
        && case
            .wrong()
            .is_none_or(|(wrong, samples)| wrong <= samples * MOST_WRONG)
}
