//! The UDP port in the hands of one who writes another's address into his datagrams.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::client::{config, metric, soon};
use crate::stranger::STRANGER;
use callkit_server::Server;

fn binding(extra: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extra.len()).unwrap().to_be_bytes();
    [&[0, 1][..], &length, &[0x21, 0x12, 0xa4, 0x42], &[7; 12], extra].concat()
}

#[tokio::test]
async fn an_answer_is_at_most_twice_its_question_and_most_questions_have_none() {
    let server = Server::start(config()).await.unwrap();
    let socket = UdpSocket::bind((STRANGER, 0)).await.unwrap();
    socket.connect(server.udp_addr()).await.unwrap();

    // SOFTWARE is one that need not be understood; the answer does not bring it back.
    let padded = binding(&[&[0x80, 0x22, 0, 200][..], &[b'x'; 200]].concat());
    for question in [binding(&[]), padded] {
        socket.send(&question).await.unwrap();
        let mut answer = [0; 2_000];
        let length = soon("an answer", socket.recv(&mut answer)).await.unwrap();
        assert!(length <= 2 * question.len(), "{length} for {}", question.len());
    }

    let mut questions =
        vec![vec![], vec![0; 20], vec![0xff; 1_200], binding(&[0; 600]), binding(&[0, 6, 0, 4, 1, 2, 3, 4])];
    for kind in [[0, 3], [0, 0x11], [1, 1], [0, 4], [0, 8]] {
        let mut question = binding(&[]);
        question[..2].copy_from_slice(&kind);
        questions.push(question);
    }
    let before = metric(server.local_addr(), "callkit_stun_total{result=\"ignored\"}").await;
    for question in &questions {
        socket.send(question).await.unwrap();
    }
    // The server takes them in order: the answer to the last one comes first.
    socket.send(&binding(&[])).await.unwrap();
    let mut answer = [0; 2_000];
    soon("an answer", socket.recv(&mut answer)).await.unwrap();
    assert!(timeout(Duration::ZERO, socket.recv(&mut answer)).await.is_err(), "only one was answered");
    let ignored = metric(server.local_addr(), "callkit_stun_total{result=\"ignored\"}").await - before;
    assert_eq!(ignored, questions.len() as f64);
    server.stop().await;
}
