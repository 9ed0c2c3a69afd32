//! What the tasks and threads of a kit report to its driver.

use callkit_core::{Input, PathId};
use rtc_transport::MediaPath;

/// Reports that wait for the driver, which never waits for anybody: whoever finds no place waits until there is one, so that what comes over
/// paths and chats is not read faster than it is dealt with.
pub(crate) const REPORTS: usize = 256;

/// Something that is reported.
pub(crate) enum Report {
    /// For the machine as it is.
    Input(Input),
    /// The addresses of this machine changed.
    NetworkChanged,
    /// This path is open.
    PathOpened(PathId, MediaPath),
}
