//! assistants
