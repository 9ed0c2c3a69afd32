//! What the kit does, line by line.

use tracing_subscriber::EnvFilter;

/// Why nothing is logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error("filter: {detail}")]
    Filter {
        /// For the developer.
        detail: String,
    },
    /// Somebody logs already.
    #[error("the log is set up already")]
    Twice,
}

/// Writes the kit's log to standard error, once for the process. `filter` says what: `info`, or `warn,callkit=debug`. A line that cannot
/// be written is lost, and nothing else.
#[uniffi::export]
pub fn init_logging(filter: String) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LoggingError::Filter { detail: error.to_string() })?;
    // Otherwise a line that cannot be written is told to standard error as well, which panics where that is closed.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    log.try_init().map_err(|_| LoggingError::Twice)
}
