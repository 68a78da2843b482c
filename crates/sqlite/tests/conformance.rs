//! What every database must do, done in a file and in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod file {
    use std::sync::Arc;

    use runloom_sqlite::{Config, Location, Sqlite};
    use runloom_testkit::conformance::database::Fixture;
    use runloom_testkit::doubles::ManualClock;

    async fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let location = Location::Folder(folder.path().to_owned());
        let database = Sqlite::open(location, clock.clone(), Config::default()).await;
        Fixture::new(Arc::new(database.unwrap()), clock).keeping(folder)
    }

    runloom_testkit::database_conformance!(fixture);
}

mod memory {
    use std::sync::Arc;

    use runloom_sqlite::{Config, Location, Sqlite};
    use runloom_testkit::conformance::database::Fixture;
    use runloom_testkit::doubles::ManualClock;

    async fn fixture() -> Fixture {
        let clock = ManualClock::new();
        let database = Sqlite::open(Location::Memory, clock.clone(), Config::default()).await;
        Fixture::new(Arc::new(database.unwrap()), clock)
    }

    runloom_testkit::database_conformance!(fixture);
}
