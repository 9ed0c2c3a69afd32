//! The UDP port, over real datagrams.

use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

use callkit_server::{Server, ServerConfig};

use crate::client::{config, metric, soon, start};

#[tokio::test]
async fn it_tells_the_address_it_sees_and_is_silent_otherwise() {
    let server = start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.udp_addr()).await.unwrap();
    for garbage in [&b"garbage"[..], &[0; 20], &[0xff; 1_400], b""] {
        socket.send(garbage).await.unwrap();
    }
    let mut request = Message::new();
    request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]).unwrap();
    socket.send(&request.raw).await.unwrap();

    // The first thing that comes back is the answer to the last thing sent.
    let mut answer = Message::new();
    let mut bytes = [0; 1_500];
    let length = soon("an answer", socket.recv(&mut bytes)).await.unwrap();
    answer.unmarshal_binary(&bytes[..length]).unwrap();
    assert_eq!((answer.typ, answer.transaction_id), (BINDING_SUCCESS, request.transaction_id));
    let mut seen = XorMappedAddress::default();
    seen.get_from(&answer).unwrap();
    assert_eq!((seen.ip, seen.port), (socket.local_addr().unwrap().ip(), socket.local_addr().unwrap().port()));
    assert_eq!(metric(server.local_addr(), "callkit_stun_total{result=\"answered\"}").await, 1.0);
    assert_eq!(metric(server.local_addr(), "callkit_stun_total{result=\"ignored\"}").await, 4.0);
    server.stop().await;
}

/// On other systems this machine has but one address that is sure to be there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_answers_from_the_address_that_was_asked() {
    for everybody in ["0.0.0.0:0", "[::]:0"] {
        let server = Server::start(ServerConfig { listen: everybody.parse().unwrap(), ..config() }).await.unwrap();
        for asked in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Connected, it takes nothing that comes from elsewhere.
            socket.connect((asked, server.udp_addr().port())).await.unwrap();
            let mut request = Message::new();
            request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]).unwrap();
            socket.send(&request.raw).await.unwrap();
            let mut bytes = [0; 1_500];
            let length = soon("an answer", socket.recv(&mut bytes)).await.unwrap();
            let mut answer = Message::new();
            answer.unmarshal_binary(&bytes[..length]).unwrap();
            assert_eq!(answer.transaction_id, request.transaction_id);
            let mut seen = XorMappedAddress::default();
            seen.get_from(&answer).unwrap();
            assert_eq!(seen.ip, socket.local_addr().unwrap().ip(), "by IPv4, on whatever socket");
        }
        server.stop().await;
    }
}
