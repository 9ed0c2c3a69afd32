//! Who is called has no app that runs: the app's backend hears of the call, and its push wakes the app, in time or late.

use std::net::SocketAddr;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::processes::handset::HandsetOptions;
use tests::processes::host::PhoneProcess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::report::{Report, exactly};
use crate::room::{PATIENCE, Room, Setting};

/// What a handler is told, but for how far the call is at the other side.
const TOLD: [&str; 4] = ["verified", "connected", "disconnected", "adopted"];

/// A server, and the app's backend beside it.
struct Town {
    room: Room,
    pushes: mpsc::UnboundedReceiver<Value>,
}

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let mut town = Town::open(setting).await?;
    let mut report = Report::default();
    wakes_late(&mut town, &mut report).await?;
    wakes_in_time(&mut town, &mut report).await?;
    declines_without_an_app(&mut town, &mut report).await?;
    killed_while_it_rings(&mut town, &mut report).await?;
    adopted_by_another_process(&mut town, &mut report).await?;
    Ok(report)
}

impl Town {
    async fn open(setting: &Setting) -> Result<Town, String> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let notify = async |State(sender): State<mpsc::UnboundedSender<Value>>, Json(body): Json<Value>| {
            // Nobody reads any more once the scenario is over.
            drop(sender.send(body));
        };
        let router = Router::new().route("/notify", post(notify)).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let room = Room::open_beside(setting, Some(format!("http://{address}/notify"))).await?;
        room.register("bob").await?;
        Ok(Town { room, pushes })
    }

    async fn handset(&self, user: &str) -> Result<PhoneProcess, String> {
        PhoneProcess::handset(&HandsetOptions { user: user.into(), server: self.room.url().into() }).await
    }

    /// Alice calls Bob for so long; gives her handset and what the push brings.
    async fn call(&mut self, seconds: u32) -> Result<(PhoneProcess, String), String> {
        let mut alice = self.handset("alice").await?;
        alice.tell(&format!("call bob {seconds}")).await?;
        let pushed = timeout(PATIENCE, self.pushes.recv()).await.ok().flatten().ok_or("the backend was not told")?;
        Ok((alice, pushed["cc_param"].as_str().ok_or("a push without cc_param")?.to_owned()))
    }

    /// One HTTP request, as a phone whose app does not run makes it; gives the status.
    async fn post(&self, path: &str, body: &Value) -> Result<String, String> {
        let address: SocketAddr = self.room.url().trim_start_matches("http://").parse().map_err(|_| "no address")?;
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await?;
            Ok::<_, std::io::Error>(reply)
        };
        let reply = timeout(PATIENCE, exchange).await.map_err(|_| "no reply")?.map_err(|error| error.to_string())?;
        Ok(reply.split_whitespace().nth(1).unwrap_or_default().to_owned())
    }
}

/// Nobody answers for the whole ring, and the phone wakes afterwards.
async fn wakes_late(town: &mut Town, report: &mut Report) -> Result<(), String> {
    let (mut alice, cc_param) = town.call(1).await?;
    alice.until("disconnected").await?;
    let alice = alice.quit().await?;
    report.promise(
        "a call to a phone that sleeps ends as unanswered",
        exactly(&alice, &TOLD, &[("disconnected", "NoAnswer")]),
    );
    let mut bob = town.handset("bob").await?;
    bob.tell(&format!("verify {cc_param}")).await?;
    bob.until("disconnected").await?;
    let bob = bob.quit().await?;
    let told = exactly(&bob, &TOLD, &[("disconnected", "ReleasedCall")]);
    report.promise("a phone that wakes late is told released_call, and never rings", told);
    Ok(())
}

/// The push comes in time: the app is started, rings, and takes the call.
async fn wakes_in_time(town: &mut Town, report: &mut Report) -> Result<(), String> {
    let (alice, cc_param) = town.call(60).await?;
    let bob = town.handset("bob").await?;
    let said = take_and_end(alice, bob, &format!("verify {cc_param}")).await?;
    report.promise("a phone that wakes in time rings and takes the call", talked(&said));
    Ok(())
}

async fn declines_without_an_app(town: &mut Town, report: &mut Report) -> Result<(), String> {
    let (mut alice, cc_param) = town.call(60).await?;
    let param = json!({ "cc_param": cc_param });
    let declined = town.post("/v1/decline", &param).await?;
    alice.until("disconnected").await?;
    let again = town.post("/v1/decline", &param).await?;
    let alice = alice.quit().await?;
    let told = exactly(&alice, &TOLD, &[("disconnected", "Decline")]);
    report.promise("a call is declined with one HTTP request", told);
    let statuses = (declined.as_str(), again.as_str());
    let right = if statuses == ("204", "410") { Ok(()) } else { Err(format!("it was answered {statuses:?}")) };
    report.promise("and a second one is told that it is over", right);
    Ok(())
}

/// The app dies while it rings, and is started again by the same push.
async fn killed_while_it_rings(town: &mut Town, report: &mut Report) -> Result<(), String> {
    let (alice, cc_param) = town.call(60).await?;
    let mut bob = town.handset("bob").await?;
    bob.tell(&format!("verify {cc_param}")).await?;
    bob.until("verified").await?;
    bob.kill().await?;
    let bob = town.handset("bob").await?;
    let said = take_and_end(alice, bob, &format!("verify {cc_param}")).await?;
    report.promise("an app that died while it rang rings again and takes the call", talked(&said));
    Ok(())
}

/// The process that the push woke hands the call over to the app.
async fn adopted_by_another_process(town: &mut Town, report: &mut Report) -> Result<(), String> {
    let (alice, cc_param) = town.call(60).await?;
    let mut service = town.handset("bob").await?;
    service.tell(&format!("background {cc_param}")).await?;
    let background = service.until("background").await?;
    let id = background["detail"].as_str().ok_or("a background call without an id")?.to_owned();
    // Told before the id or after it.
    service.until_like(0, PATIENCE, "verified", |line| line["event"] == "verified").await?;
    let app = town.handset("bob").await?;
    let said = take_and_end(alice, app, &format!("adopt {id}")).await?;
    report.promise("a call verified in one process is taken in another", talked(&said));
    service.until_like(0, PATIENCE, "adopted", |line| line["event"] == "adopted").await?;
    let service = service.quit().await?;
    let told = exactly(&service, &TOLD, &[("verified", ""), ("adopted", "")]);
    report.promise("and the first one hears of nothing more", told);
    Ok(())
}

/// Bob's handset learns of the call by this line, takes it, and Alice ends it; gives what both said.
async fn take_and_end(mut alice: PhoneProcess, mut bob: PhoneProcess, line: &str) -> Result<[Vec<Value>; 2], String> {
    bob.tell(line).await?;
    bob.until("verified").await?;
    bob.tell("accept").await?;
    bob.until("connected").await?;
    alice.until("connected").await?;
    alice.tell("end").await?;
    bob.until("disconnected").await?;
    alice.until("disconnected").await?;
    Ok([alice.quit().await?, bob.quit().await?])
}

/// Both were connected and told a normal end, once each.
fn talked([alice, bob]: &[Vec<Value>; 2]) -> Result<(), String> {
    exactly(alice, &TOLD, &[("connected", ""), ("disconnected", "Normal")])?;
    exactly(bob, &TOLD, &[("verified", ""), ("connected", ""), ("disconnected", "Normal")])
}
