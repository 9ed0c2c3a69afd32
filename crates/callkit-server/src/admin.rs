//! The operator's way in: a socket in the data folder, for the server's own user and root alone. One line asks, one line answers.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::store::Store;

const SOCKET: &str = "admin.sock";
/// Bytes of a question, at most: the longest path of the system and a word.
const QUESTION_BYTES: u64 = 8 * 1024;
/// How long a question may take to come.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the system had no sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);

/// Why a running server could not be asked for a copy of its store.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No server answers there.
    #[error("no server answers at {path}: {error}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The server could not write the copy.
    #[error("the server says: {0}")]
    Refused(String),
}

/// The socket of a running server; dropping it closes it.
pub(crate) struct Admin {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Admin {
    /// Serves in a task; a folder in which no socket can be made only costs a warning.
    ///
    /// Whoever calls this holds the store of the folder, so that a socket found there is one that was left behind.
    pub(crate) fn start(folder: &Path, store: Store) -> Option<Admin> {
        let path = folder.join(SOCKET);
        fs::remove_file(&path).ok();
        let listen = || {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok::<_, io::Error>(listener)
        };
        match listen() {
            Ok(listener) => Some(Admin { path, serving: tokio::spawn(serve(listener, store)) }),
            Err(error) => {
                warn!(%error, "no admin socket: a backup needs one");
                None
            }
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
        fs::remove_file(&self.path).ok();
    }
}

/// One at a time: an operator is in no hurry.
async fn serve(listener: UnixListener, store: Store) {
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // sleeps: the system does not tell when it has sockets again.
            sleep(OUT_OF_SOCKETS).await;
            continue;
        };
        // Between the making of the socket and its permissions others may have come in.
        if socket.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
            answer(socket, &store).await.ok();
        }
    }
}

async fn answer(socket: UnixStream, store: &Store) -> io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut question = Vec::new();
    let mut reader = AsyncBufReader::new(reader.take(QUESTION_BYTES));
    timeout(QUESTION_TIMEOUT, reader.read_until(b'\n', &mut question)).await??;
    let said = match question.strip_prefix(b"backup ").and_then(|rest| rest.strip_suffix(b"\n")) {
        Some(path) => match store.backup(Path::new(OsStr::from_bytes(path))).await {
            Ok(()) => {
                info!("the store was copied");
                "done\n".to_owned()
            }
            Err(error) => {
                warn!("the store could not be copied");
                format!("{error}\n")
            }
        },
        None => "what is asked is not known here\n".to_owned(),
    };
    writer.write_all(said.as_bytes()).await
}

/// Asks the server that runs with this data folder for a copy of its store, in a new file; the server goes on meanwhile.
///
/// What is at `to` is not overwritten. With the copy as `calls.redb` in a folder of its own, and the `server_secret` beside it, a
/// server starts as of that moment. Waits until the copy is on the disk.
pub fn backup(data_dir: &Path, to: &Path) -> Result<(), BackupError> {
    let path = data_dir.join(SOCKET);
    let unreachable = |error| BackupError::Unreachable { path: path.clone(), error };
    let to = std::path::absolute(to).map_err(unreachable)?;
    let mut socket = Client::connect(&path).map_err(unreachable)?;
    let question = [b"backup ", to.as_os_str().as_bytes(), b"\n"].concat();
    socket.write_all(&question).map_err(unreachable)?;
    let mut said = String::new();
    BufReader::new(socket).read_line(&mut said).map_err(unreachable)?;
    match said.trim_end() {
        "done" => Ok(()),
        "" => Err(unreachable(io::ErrorKind::UnexpectedEof.into())),
        said => Err(BackupError::Refused(said.to_owned())),
    }
}
