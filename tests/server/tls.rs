//! Which certificate is served, and to whom.

use std::{fs, path::Path, sync::Arc, time::Duration};

use agentkube::server::certificates::{
    directory,
    issue::{CertificateAuthority, Leaf},
};
use jiff::Timestamp;

use crate::support::{HOUR, Server, eventually, issue, limits, pair};

#[tokio::test]
async fn a_client_with_another_authority_is_counted() {
    let server = Server::start(limits());
    let stranger = CertificateAuthority::new(HOUR, Timestamp::now()).unwrap();
    assert!(
        server
            .try_connect(&stranger)
            .await
            .is_err()
    );
    eventually("the count", async || {
        server
            .scrape("agentkube_tls_handshake_errors_total")
            .await
            == "1"
    })
    .await;
}

#[tokio::test]
async fn a_swapped_certificate_is_seen_by_the_next_handshake() {
    let server = Server::start(limits());
    let mut before = server.connect().await;
    assert_eq!(before.get("/").await.status, 200);

    let next = Arc::new(pair(&issue(&server.authority)));
    server.serving.replace(next.clone());

    let after = server.connect().await;
    assert_ne!(before.served(), after.served());
    assert_eq!(after.served(), next.chain()[0].to_vec());
    assert_eq!(before.get("/").await.status, 200, "open connections go on");
    let expiry = server
        .scrape("agentkube_certificate_expiry_timestamp_seconds")
        .await;
    assert_eq!(expiry, next.not_after().as_second().to_string());
}

/// What the kubelet does when a mounted Secret changes: a new directory, and the link `..data`
/// swapped onto it
fn mount(directory: &Path, generation: &str, chain: &str, key: &str) {
    let data = directory.join(generation);
    fs::create_dir(&data).unwrap();
    fs::write(data.join("tls.crt"), chain).unwrap();
    fs::write(data.join("tls.key"), key).unwrap();
    let link = directory.join("..data_tmp");
    std::os::unix::fs::symlink(generation, &link).unwrap();
    fs::rename(&link, directory.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let file = directory.join(name);
        if !file.is_symlink() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), file).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_is_followed_through_link_swaps_and_bad_pairs() {
    let server = Server::start(limits());
    let directory = tempfile::tempdir().unwrap();
    let [first, second, third] = [0; 3].map(|_| issue(&server.authority));
    mount(directory.path(), "..1", &first.chain_pem, &first.key_pem);
    let interval = Duration::from_millis(20);
    tokio::spawn(directory::follow(
        directory.path().to_owned(),
        interval,
        server.serving.clone(),
        server.shutdown.clone(),
    ));
    let becomes = async |leaf: &Leaf| {
        let expected = pair(leaf).chain()[0].to_vec();
        eventually("the certificate", async || {
            server.connect().await.served() == expected
        })
        .await;
    };

    becomes(&first).await;
    mount(directory.path(), "..2", &second.chain_pem, &second.key_pem);
    becomes(&second).await;

    for (generation, chain, key) in [
        ("..3", "nonsense", third.key_pem.as_str()),
        ("..4", &third.chain_pem, &first.key_pem),
        ("..5", &third.chain_pem, ""),
    ] {
        mount(directory.path(), generation, chain, key);
        // Several polls happen in this time, and none of them may change what is served.
        tokio::time::sleep(interval * 5).await;
        assert_eq!(
            server.connect().await.served(),
            pair(&second).chain()[0].to_vec(),
            "{generation}"
        );
    }

    mount(directory.path(), "..6", &third.chain_pem, &third.key_pem);
    becomes(&third).await;
}
