use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server with a certificate of its own: its address, the certificate, and the protocol that one client agreed on.
async fn tls_server() -> (String, Certificate, tokio::task::JoinHandle<Option<Vec<u8>>>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let agreed = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.ok()?;
        stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    });
    (address, Certificate::from_pem(made.cert.pem()), agreed)
}

#[tokio::test]
async fn an_https_server_is_reached_with_the_certificate_that_is_trusted() {
    let (address, certificate, agreed) = tls_server().await;
    endpoint(address, vec![certificate]).unwrap().connect_with_connector(Dial::default()).await.unwrap();
    assert_eq!(agreed.await.unwrap().as_deref(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_not_taken() {
    let (_, other, _) = tls_server().await;
    for roots in [vec![], vec![other]] {
        let (address, _, agreed) = tls_server().await;
        assert!(endpoint(address, roots).unwrap().connect_with_connector(Dial::default()).await.is_err());
        assert_eq!(agreed.await.unwrap(), None);
    }
}

#[tokio::test]
async fn p4_p14_a_certificate_that_nobody_vouches_for() {
    let (address, certificate, _) = tls_server().await;
    let to = |roots| SignIn {
        endpoint: endpoint(address.clone(), roots).unwrap(),
        app_id: "demo".into(),
        access_token: String::new(),
        user: "alice".into(),
        device: "desk".into(),
        cc_param: String::new(),
        for_one_call: false,
    };
    let failure = sign_in(&to(vec![]), None).await.map(drop).unwrap_err();
    assert_eq!(failure.reason, DisconnectReason::ServiceInvalidPeerCert, "{failure:?}");
    // One that is trusted is not what is wrong: nothing listens there any more.
    let failure = sign_in(&to(vec![certificate]), None).await.map(drop).unwrap_err();
    assert_eq!(failure.reason, DisconnectReason::ServiceConnectFail, "{failure:?}");
}

#[test]
fn those_who_come_back_are_spread_from_the_first_attempt_on() {
    let come = |first_ms| {
        let mut luck: Vec<_> = (0..1_000).map(StdRng::seed_from_u64).collect();
        let mut pauses: Vec<_> = luck.iter_mut().map(|luck| backoff(0, first_ms, luck).as_millis()).collect();
        pauses.sort_unstable();
        // How many at most within a twentieth of the time.
        let within = first_ms as u128 / 20;
        pauses.iter().map(|from| pauses.iter().filter(|at| (*from..from + within).contains(at)).count()).max()
    };
    assert!(come(BACKOFF_MS[0]) < Some(100), "a blip: {:?}", come(BACKOFF_MS[0]));
    assert!(come(SENT_AWAY_MS) < Some(100), "a restart: {:?}", come(SENT_AWAY_MS));
}

#[test]
fn an_address_that_is_none_is_told() {
    let said = |server: &str, roots| endpoint(server.into(), roots).unwrap_err().to_string();
    assert!(said("no address", vec![]).contains("server:"));
    assert!(endpoint("http://127.0.0.1:7450".into(), vec![]).is_ok());
}
