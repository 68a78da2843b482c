//! Streams on the wire.
