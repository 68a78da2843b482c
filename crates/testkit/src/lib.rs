//! What the tests of the other crates stand on: the model of the database, conformance suites,
//! doubles and checks. Never shipped.

pub mod conformance;
pub mod doubles;
pub mod growth;
pub mod history;
pub mod invariants;
pub mod memory;
pub mod model_check;
pub mod services;
pub mod speed;
