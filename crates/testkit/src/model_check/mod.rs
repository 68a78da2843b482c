//! Random operations on a database and on the model side by side: every answer and everything that
//! can be read afterwards must be the same.

mod elsewhere;
mod generate;
mod operation;

use std::sync::Arc;

use runloom_core::database::Database;

use crate::conformance::database::Fixture;
use crate::invariants::{Dump, check_step};
use crate::memory::Memory;
use generate::Generator;
use operation::{Operation, perform};

/// Does `operations` random operations, the same ones for the same seed, on a database and on the
/// model.
///
/// Panics at the first difference and says which operations led to it. Called from a property test
/// with a random seed and number of operations, the number shrinks to the operation that differs.
pub async fn model_check(fixture: &Fixture, seed: u64, operations: usize) {
    let model: Arc<dyn Database> = Arc::new(Memory::new(fixture.clock.clone()));
    let mut generator = Generator::new(seed);
    let mut done: Vec<Operation> = Vec::new();
    let mut before = None;
    for _ in 0..operations {
        let operation = generator.next(model.as_ref()).await;
        done.push(operation.clone());
        match &operation {
            Operation::Advance(by) => fixture.clock.advance(*by),
            Operation::StepBack(by) => fixture.clock.step_back(*by),
            _ => {}
        }
        let expected = perform(model.as_ref(), &operation).await;
        let actual = perform(fixture.db.as_ref(), &operation).await;
        let story = || story(seed, &done);
        let (expected_text, actual_text) = (expected.text(), actual.text());
        assert!(
            actual_text == expected_text,
            "{}\nthe model answers {expected_text}\nthe database answers {actual_text}",
            story()
        );
        generator.learn(expected);
        let expected = Dump::of(model.as_ref(), &generator.threads).await;
        let actual = Dump::of(fixture.db.as_ref(), &generator.threads).await;
        assert!(
            actual == expected,
            "{}\nthe model then has {expected:#?}\nthe database has {actual:#?}",
            story()
        );
        if let Some(before) = &before
            && let Err(violation) = check_step(before, &actual)
        {
            panic!("{}\n{violation}", story());
        }
        before = Some(actual);
    }
}

/// What led to a difference; the last operation is shown in full.
fn story(seed: u64, done: &[Operation]) -> String {
    let names: Vec<_> = done.iter().map(Operation::name).collect();
    format!(
        "seed {seed}, {} operations: {}\nthe last one: {:#?}",
        done.len(),
        names.join(", "),
        done.last()
    )
}
