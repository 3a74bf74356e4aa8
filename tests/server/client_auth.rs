//! Who is served on a port that asks for certificates.

use std::{fs, sync::Arc, time::Duration};

use agentkube::server::callers::client_auth::ClientAuthorities;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;

use crate::support::{Identity, Server, eventually, limits};

/// An authority of clients
struct Clients {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Clients {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.into()], key)
    }

    fn client(&self, name: &str) -> Identity {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// Whether a client gets an answer; with TLS 1.3 it is told only after its own handshake
async fn is_served(server: &Server, identity: Option<Identity>) -> bool {
    match server
        .try_connect_as(&server.authority, identity)
        .await
    {
        Ok(mut client) => {
            use tokio::io::AsyncWriteExt;

            let head = b"GET / HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\r\n";
            let _ = client.stream.write_all(head).await;
            let mut answer = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut answer).await;
            answer.starts_with(b"HTTP/1.1 200")
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn only_clients_of_the_authority_with_the_name_are_served_and_refusals_are_counted() {
    let clients = Clients::new();
    let stranger = Clients::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    fs::write(&file, &clients.pem).unwrap();
    let authorities = Arc::new(ClientAuthorities::new(vec!["apiserver".to_owned()]));
    let server = Server::start_for(limits(), Some(authorities.clone()));

    // Nobody, as long as no authority is known.
    assert!(!is_served(&server, Some(clients.client("apiserver"))).await);
    authorities.load(&file).await.unwrap();

    assert!(is_served(&server, Some(clients.client("apiserver"))).await);
    let server_only = clients.issue("apiserver", ExtendedKeyUsagePurpose::ServerAuth);
    for (identity, who) in [
        (None, "one without a certificate"),
        (Some(stranger.client("apiserver")), "one of a stranger"),
        (Some(clients.client("kubelet")), "one of another name"),
        (Some(server_only), "one with a certificate for serving"),
    ] {
        assert!(!is_served(&server, identity).await, "{who}");
    }
    eventually("the count", async || {
        server
            .scrape("agentkube_client_certificates_refused_total")
            .await
            == "5"
    })
    .await;
}

#[tokio::test]
async fn the_file_of_authorities_is_followed_and_a_bad_one_changes_nothing() {
    let [first, second] = [0, 1].map(|_| Clients::new());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    fs::write(&file, &first.pem).unwrap();
    let authorities = Arc::new(ClientAuthorities::new(Vec::new()));
    let server = Server::start_for(limits(), Some(authorities.clone()));
    tokio::spawn(authorities.follow(
        file.clone(),
        Duration::from_millis(10),
        server.shutdown.clone(),
    ));
    eventually("the first authority", async || {
        is_served(&server, Some(first.client("a"))).await
    })
    .await;
    assert!(!is_served(&server, Some(second.client("a"))).await);

    // Both, as a rotation has it; then the new one alone.
    fs::write(&file, format!("{}{}", first.pem, second.pem)).unwrap();
    eventually("the second authority", async || {
        is_served(&server, Some(second.client("a"))).await
    })
    .await;
    assert!(is_served(&server, Some(first.client("a"))).await);
    fs::write(&file, &second.pem).unwrap();
    eventually("the first authority to go", async || {
        !is_served(&server, Some(first.client("a"))).await
    })
    .await;

    fs::write(&file, "nonsense").unwrap();
    // Several polls happen in this time, and none of them may change who is served.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_served(&server, Some(second.client("a"))).await);
    assert!(!is_served(&server, None).await);
}

#[tokio::test]
async fn a_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    let authorities = ClientAuthorities::default();
    let error = authorities
        .load(&file)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot be read"),
        "{error}"
    );
    fs::write(&file, "").unwrap();
    let error = authorities
        .load(&file)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no certificate"),
        "{error}"
    );
}
