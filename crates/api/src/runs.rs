//! Runs on the wire.
