//! runloom
