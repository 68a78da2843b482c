//! What every database must do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

mod prepared {
    use runloom_postgres::Config;
    use runloom_testkit::conformance::database::Fixture;

    use crate::common;

    async fn fixture() -> Fixture {
        common::fixture(Config::default()).await
    }

    runloom_testkit::database_conformance!(fixture);
}

mod unprepared {
    use runloom_postgres::Config;
    use runloom_testkit::conformance::database::Fixture;

    use crate::common;

    async fn fixture() -> Fixture {
        let config = Config {
            prepared: false,
            ..Config::default()
        };
        common::fixture(config).await
    }

    runloom_testkit::database_conformance!(fixture);
}

mod in_many_trips {
    use runloom_postgres::Config;
    use runloom_testkit::conformance::database::Fixture;

    use crate::common;

    async fn fixture() -> Fixture {
        let config = Config {
            one_trip: false,
            ..Config::default()
        };
        common::fixture(config).await
    }

    runloom_testkit::database_conformance!(fixture);
}
