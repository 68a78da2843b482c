//! graph

pub mod model;
