//! The Python half of an executor, which this crate carries.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use include_dir::{Dir, include_dir};
use tempfile::TempDir;

static PACKAGE: Dir<'_> = include_dir!("$OUT_DIR/python");

/// What the interpreter executes. The package's folder comes last on the module search path, so it hides
/// nothing of the user's.
const BOOTSTRAP: &str = "import sys; sys.path.append(sys.argv.pop()); \
    import runpy; runpy.run_module('runloom_executor', run_name='__main__')";

/// The package, unpacked into a private folder that is deleted with this value.
pub struct Package {
    folder: TempDir,
}

impl Package {
    /// Unpacks the package.
    pub fn unpack() -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("runloom-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        PACKAGE.extract(folder.path())?;
        Ok(Self { folder })
    }

    /// The folder that belongs on the module search path.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What to tell a Python interpreter (3.11 or newer) so that it becomes an executor.
    pub fn arguments(&self) -> Vec<OsString> {
        // -P: the working folder is no place for modules unless the project says so.
        // -u: what is printed arrives when it is printed.
        let options = ["-P", "-u", "-c", BOOTSTRAP].map(OsString::from);
        let mut arguments = Vec::from(options);
        arguments.push(self.folder().into());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<'a>(folder: &'a Dir<'a>, into: &mut Vec<&'a Path>) {
        into.extend(folder.files().map(include_dir::File::path));
        for inner in folder.dirs() {
            files(inner, into);
        }
    }

    #[test]
    fn only_modules_of_the_package_are_carried() {
        let mut paths = Vec::new();
        files(&PACKAGE, &mut paths);
        assert!(paths.contains(&Path::new("runloom_executor/__init__.py")));
        for path in paths {
            assert!(path.starts_with("runloom_executor"), "{}", path.display());
            assert_eq!(path.extension(), Some("py".as_ref()), "{}", path.display());
        }
    }

    #[test]
    fn the_folder_is_deleted_with_the_package() {
        let package = Package::unpack().unwrap();
        let folder = package.folder().to_owned();
        assert!(folder.join("runloom_executor/frames.py").is_file());
        drop(package);
        assert!(!folder.exists());
    }
}
