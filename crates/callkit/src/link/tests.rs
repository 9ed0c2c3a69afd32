use std::sync::Arc;

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
    let to = |roots| endpoint(address.clone(), roots).unwrap();
    let hello = || Hello {
        protocol_version: call_protocol::session::PROTOCOL_VERSION,
        app_id: "demo".into(),
        access_token: String::new(),
        user: "alice".into(),
        device: "desk".into(),
        resume: None,
        agent: String::new(),
        cc_param: String::new(),
        for_one_call: false,
    };
    let failure = sign_in(&to(vec![]), hello()).await.map(drop).unwrap_err();
    assert_eq!(failure.reason, DisconnectReason::ServiceInvalidPeerCert, "{failure:?}");
    // One that is trusted is not what is wrong: nothing listens there any more.
    let failure = sign_in(&to(vec![certificate]), hello()).await.map(drop).unwrap_err();
    assert_eq!(failure.reason, DisconnectReason::ServiceConnectFail, "{failure:?}");
}

#[test]
fn an_address_that_is_none_is_told() {
    let said = |server: &str, roots| endpoint(server.into(), roots).unwrap_err().to_string();
    assert!(said("no address", vec![]).contains("server:"));
    assert!(endpoint("http://127.0.0.1:7450".into(), vec![]).is_ok());
}
