//! What tests of the whole share: processes, clients that speak HTTP, and what the graph `witness`
//! writes down. The tests are in the folders beside this one.

pub mod http;
pub mod numbers;
pub mod process;
pub mod product;
pub mod sse;
pub mod witness;
