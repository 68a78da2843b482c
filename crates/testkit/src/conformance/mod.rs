//! What it means to be a backend: suites that every implementation of a port must pass.
//!
//! Each suite has one list of its cases, from which a macro makes a test of each case for whoever
//! calls it. A case that is left off the list is dead code, so the compiler finds it. New behaviour
//! is added here, not to one backend's own tests.

/// Makes the cases of a suite public under `cases` and a macro that turns them into tests.
macro_rules! suite {
    ($d:tt $suite:ident, $name:ident, $fixture:ty; $($module:ident { $($case:ident)* })*) => {
        /// The cases of the suite. Use the macro instead.
        #[doc(hidden)]
        pub mod cases {
            $(pub mod $module {
                $(pub async fn $case(fixture: $fixture) {
                    if let Err(error) = super::super::$module::$case(fixture).await {
                        panic!("{error}");
                    }
                })*
            })*
        }

        /// Makes a test of each case of the suite. Takes the path of an asynchronous function
        /// without arguments that gives a fresh fixture.
        #[macro_export]
        macro_rules! $name {
            ($d fixture:path) => {
                $(mod $module {
                    use super::*;

                    $(#[tokio::test]
                    async fn $case() {
                        let fixture = $d fixture().await;
                        $d crate::conformance::$suite::cases::$module::$case(fixture).await;
                    })*
                })*
            };
        }
    };
}

pub mod bus;
pub mod database;
