//! The Python half of an executor, which this crate carries.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// The package, unpacked into a private folder that is deleted with this value.
pub struct Package {}

impl Package {
    /// Unpacks the package.
    pub fn unpack() -> io::Result<Self> {
        todo!()
    }

    /// The folder that belongs on the module search path.
    pub fn folder(&self) -> &Path {
        todo!()
    }

    /// What to tell a Python interpreter so that it becomes an executor.
    pub fn arguments(&self) -> Vec<OsString> {
        todo!()
    }
}
