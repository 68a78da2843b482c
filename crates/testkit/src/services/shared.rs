//! The servers that all tests of a run share. Keep apart by a database and a subject prefix of your own.

use super::{postgres, variable};

/// The URL of the shared Postgres' database `postgres`, as a superuser.
pub fn database_url() -> String {
    variable("RUNLOOM_TEST_DATABASE_URL")
}

/// Makes an empty database in the shared Postgres, under a name that nobody else has, and returns
/// its URL. It stays until the server goes.
pub async fn new_database() -> String {
    let name = format!("test_{}", rand::random::<u64>());
    let maintenance = database_url();
    postgres::psql(&maintenance, &format!("CREATE DATABASE {name}")).await;
    let (server, _) = maintenance.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

/// The URL of the shared NATS server of the newest version.
pub fn nats_url() -> String {
    variable("RUNLOOM_TEST_NATS_URL")
}

/// The URL of the shared NATS server of the oldest supported version.
pub fn nats_floor_url() -> String {
    variable("RUNLOOM_TEST_NATS_FLOOR_URL")
}
