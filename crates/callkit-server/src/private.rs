//! Files for the eyes of the server's own user: what it keeps tells who calls whom, and how phones are reached.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tracing::warn;

/// Makes the folder, and those above it, where they are not there. One that is there is the operator's, and stays as it is.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a file that nobody else can read; an error if there is one.
pub(crate) fn make_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the file if it is not there, and takes it from everybody else if it is, as one of an older version.
pub(crate) fn keep_file(path: &Path) -> io::Result<()> {
    match make_file(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A file of another user cannot be changed, and may still be good enough to work with.
            if let Err(error) = close_to_others(path) {
                warn!(%error, "others may be able to read what is kept");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn close_to_others(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700)) }
}

#[cfg(not(unix))]
fn close_to_others(_path: &Path) -> io::Result<()> {
    Ok(())
}
