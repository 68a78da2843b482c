//! The gateway, spoken to as clients do, on the model of the database.
//!
//! Each module is marked as test code, so that what the tests share may unwrap as they do.

#[cfg(test)]
mod support;

#[cfg(test)]
mod assistants;
#[cfg(test)]
mod items;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod state;
#[cfg(test)]
mod system;
#[cfg(test)]
mod threads;
