//! A server and the phones of a scenario.

use std::path::PathBuf;
use std::time::Duration;

use callkit::DevBackend;
use tempfile::TempDir;
use tests::processes::host::{Mark, PhoneProcess, ServerOptions, ServerProcess};
use tests::processes::netlab;
use tests::processes::phone::{PASSWORD, PhoneOptions};
use tests::processes::sound;
use tests::processes::sweep::Hearing;

/// How a scenario is run.
pub(crate) struct Setting {
    /// Fewer rounds.
    pub(crate) short: bool,
    /// This program itself is the server.
    pub(crate) own_server: bool,
    /// Server and phones are hosts of a laboratory.
    pub(crate) inside: bool,
}

/// How long something that is sure to come is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Sound that is right for so long is back, in ms.
pub(crate) const SOUND_IS_BACK_MS: u64 = 200;

pub(crate) struct Room {
    folder: TempDir,
    inside: bool,
    url: String,
    server: Option<ServerProcess>,
}

impl Room {
    /// Starts the server, which keeps its calls on disk.
    pub(crate) async fn open(setting: &Setting) -> Result<Room, String> {
        Room::open_beside(setting, None).await
    }

    /// The same, with an app's backend that hears there of calls that ring.
    pub(crate) async fn open_beside(setting: &Setting, notify_url: Option<String>) -> Result<Room, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let listen = if setting.inside { format!("{}:7450", netlab::SERVER_ADDRESS) } else { "127.0.0.1:0".to_owned() };
        let options = ServerOptions {
            host: setting.inside.then_some("server"),
            listen,
            data_dir: Some(folder.path().join("data")),
            itself: setting.own_server,
            notify_url,
        };
        let server = ServerProcess::with(options).await?;
        Ok(Room { folder, inside: setting.inside, url: server.url.clone(), server: Some(server) })
    }

    /// Kills the server.
    pub(crate) async fn kill_server(&mut self) -> Result<ServerOptions, String> {
        self.server.take().ok_or("the server is dead already")?.kill().await
    }

    /// Starts the server again; gives when it said that it serves, in µs.
    pub(crate) async fn start_server(&mut self, options: ServerOptions) -> Result<u64, String> {
        let server = ServerProcess::with(options).await?;
        let ready_us = server.ready_us;
        self.server = Some(server);
        Ok(ready_us)
    }

    /// Ends the server, so that its address is free; phones are to be gone by now.
    pub(crate) async fn close(mut self) -> Result<(), String> {
        if let Some(server) = self.server.take() {
            server.kill().await?;
        }
        Ok(())
    }

    /// Makes the account of a user, as an app's backend has it: that of the development server forgets with the server.
    pub(crate) async fn register(&self, user: &str) -> Result<(), String> {
        DevBackend::sign_in(&self.url, user, PASSWORD).await.map(drop).map_err(|error| error.to_string())
    }

    /// A phone that says the sweep and keeps what it hears. In a laboratory the user's name is that of its host.
    pub(crate) async fn phone(&self, user: &str) -> Result<PhoneProcess, String> {
        self.phone_through(user, &self.url).await
    }

    /// The same, where the server is found at another address.
    pub(crate) async fn phone_through(&self, user: &str, url: &str) -> Result<PhoneProcess, String> {
        self.start(user, url, "sweep", self.recording(user).display().to_string()).await
    }

    /// A phone that says nothing and hears with nobody's ear.
    pub(crate) async fn quiet(&self, user: &str) -> Result<PhoneProcess, String> {
        self.start(user, &self.url, "silence", "nowhere".into()).await
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn start(&self, user: &str, url: &str, speak: &str, hear: String) -> Result<PhoneProcess, String> {
        let host = user.split('/').next().filter(|_| self.inside);
        let (server, loopback) = (url.to_owned(), !self.inside);
        PhoneProcess::start(
            host,
            &PhoneOptions { user: user.into(), server, speak: speak.into(), hear, loopback, warm: true },
        )
        .await
    }

    /// What this user's phone heard in its last call, once that is over.
    pub(crate) fn heard(&self, user: &str) -> Result<Hearing, String> {
        Ok(Hearing::of(&sound::read_wav(&self.recording(user))?))
    }

    fn recording(&self, user: &str) -> PathBuf {
        self.folder.path().join(format!("{}.wav", user.replace('/', "-")))
    }
}

/// Lets one phone call another user, whose phone answers; both have heard the other when this is done.
pub(crate) async fn connect(caller: &mut PhoneProcess, callee: &mut PhoneProcess, user: &str) -> Result<(), String> {
    caller.tell(&format!("call {user}")).await?;
    callee.until("receive_call").await?;
    callee.tell("answer").await?;
    caller.until("first_audio").await?;
    callee.until("first_audio").await?;
    Ok(())
}

/// Where both ears are now.
pub(crate) async fn marks(one: &mut PhoneProcess, other: &mut PhoneProcess) -> Result<[Mark; 2], String> {
    Ok([one.mark().await?, other.mark().await?])
}

/// Both talk for so long.
pub(crate) async fn talk(one: &mut PhoneProcess, other: &mut PhoneProcess, how_long: Duration) {
    tokio::join!(one.listen(how_long), other.listen(how_long));
}
