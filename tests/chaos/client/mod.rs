//! Clients that do what people and programs do, over HTTP alone, and write down what they saw.

mod follow;
mod frames;
mod user;

use runloom_tests::http;

pub(crate) use http::Http;
pub(crate) use user::{Habits, User};
