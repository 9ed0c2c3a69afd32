//! A copy of the store of a running program, and a server that starts from it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use call_protocol::account::HistoryRequest;
use call_protocol::end::EndReason;
use call_protocol::{CallId, Word};
use callkit_server::{Server, ServerConfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::account::{credentials, history};
use crate::backend::{Backend, by_cc_param, call, invite};
use crate::client::Client;

struct Program {
    child: Child,
    address: SocketAddr,
}

fn callkitd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.arg("--config").arg(folder.join("callkitd.toml")).current_dir(folder);
    command
}

fn start(folder: &Path, backend: &Backend) -> Program {
    let shop = backend.app();
    let (app, key, secret) = (&shop.app_id, &shop.api_key, &shop.secret);
    let apps = format!("[[apps]]\napp_id = \"{app}\"\napi_key = \"{key}\"\nsecret = \"{secret}\"\n");
    let hooks = shop.webhooks.unwrap();
    let (url, secret) = (hooks.notify_url.unwrap(), &hooks.secrets[0]);
    let hooks = format!("[apps.webhooks]\nnotify_url = \"{url}\"\nsecrets = [\"{secret}\"]\n");
    let keys = "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\nclose_grace_ms = 100\nlog = \"warn\"\n";
    std::fs::write(folder.join("callkitd.toml"), format!("{keys}{apps}{hooks}")).unwrap();
    let mut child = callkitd(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    Program { child, address }
}

fn backup(folder: &Path, file: &Path) -> Output {
    callkitd(folder).arg("backup").arg(file).output().unwrap()
}

#[tokio::test]
async fn a_running_program_is_copied_and_the_copy_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = Backend::start().await;
    let nobody = backup_without_server(folder.path());
    assert!(nobody.contains("no server answers"), "{nobody}");

    let mut program = start(folder.path(), &backend);
    let socket = std::fs::metadata(folder.path().join("data/admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let mut ann = Client::sign_in(program.address, "ann").await;
    let over = CallId::from_bits(1);
    ann.say(over, Word::Invite(Box::new(invite(over, 30_000)))).await;
    ann.word().await;
    backend.notify().await;
    ann.say(over, Word::Cancel(EndReason::Cancel.into())).await;
    ann.word().await;
    let rings = CallId::from_bits(2);
    let cc_param = call(&mut backend, &mut ann, rings, 120_000).await;

    let copy = folder.path().join("copy.redb");
    let done = backup(folder.path(), &copy);
    assert!(done.status.success(), "{done:?}");
    let again = backup(folder.path(), &copy);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && said.contains("is there already"), "{said}");
    ann.hears_nothing().await;
    kill_process(Pid::from_child(&program.child), Signal::KILL).unwrap();
    program.child.wait().unwrap();

    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::rename(&copy, restored.join("calls.redb")).unwrap();
    std::fs::copy(folder.path().join("data/server_secret"), restored.join("server_secret")).unwrap();
    let config = ServerConfig { data_dir: Some(restored.clone()), ..backend.config() };
    let server = Server::start(config).await.unwrap();
    let request =
        HistoryRequest { credentials: credentials("bob"), cursor: String::new(), limit: 10, missed_only: false };
    let page = history(server.local_addr(), &request).await.unwrap();
    assert_eq!(page.calls.iter().map(|call| call.call_id).collect::<Vec<_>>(), [over]);
    let mut bob = Client::try_sign_in(server.local_addr(), by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(heard) if heard.call_id == rings), "it still rings");
    server.stop().await;
    assert!(!restored.join("admin.sock").exists());
}

fn backup_without_server(folder: &Path) -> String {
    std::fs::write(folder.join("callkitd.toml"), "dev = true\ndata_dir = \"data\"\n").unwrap();
    let output = backup(folder, &folder.join("never.redb"));
    assert!(!output.status.success() && !folder.join("never.redb").exists());
    String::from_utf8(output.stderr).unwrap()
}
