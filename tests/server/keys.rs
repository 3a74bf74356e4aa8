//! Which keys and chains can be served.

use std::sync::Arc;

use agentkube::server::certificates::{issue::CertificateAuthority, pair::Pair};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
};

use crate::support::{HOUR, Server, limits};

fn authority(
    name: &str,
    key: KeyPair,
    issuer: Option<&Issuer<'_, KeyPair>>,
) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name);
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let pem = certificate.unwrap().pem();
    (pem, Issuer::new(params, key))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// How a key is written down
type Form = fn(&KeyPair) -> String;

/// The key inside of a PKCS #8 document, whose head has a fixed length for each kind of key
fn inner(pkcs8: &[u8], head: usize) -> &[u8] {
    &pkcs8[head..]
}

#[tokio::test]
async fn chains_with_keys_of_each_kind_and_form_are_served_to_real_clients() {
    let (root_pem, root) = authority("root", KeyPair::generate().unwrap(), None);
    let (middle_pem, middle) = authority("middle", KeyPair::generate().unwrap(), Some(&root));
    let server = Server::start(limits());
    let trusted = root_pem.as_bytes();

    let ec = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ec384 = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let rsa = || KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let pkcs8: Form = |key| key.serialize_pem();
    let pkcs1: Form = |key| pem("RSA PRIVATE KEY", inner(&key.serialize_der(), 26));
    let sec1: Form = |key| pem("EC PRIVATE KEY", inner(&key.serialize_der(), 29));
    let cases: [(&str, KeyPair, Form); 5] = [
        ("ECDSA on P-256, PKCS #8", ec(), pkcs8),
        ("ECDSA on P-256, SEC1", ec(), sec1),
        ("ECDSA on P-384, PKCS #8", ec384(), pkcs8),
        ("RSA, PKCS #8", rsa(), pkcs8),
        ("RSA, PKCS #1", rsa(), pkcs1),
    ];
    for (what, key, form) in cases {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let leaf = params
            .signed_by(&key, &middle)
            .unwrap()
            .pem();
        let chain = format!("{leaf}{middle_pem}");
        let pair = Pair::load(chain.as_bytes(), form(&key).as_bytes())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        pair.verify(trusted, &["127.0.0.1".to_owned()], Timestamp::now())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        server.serving.replace(Arc::new(pair));
        let mut client = server
            .connect_trusting(&root_pem)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(client.get("/").await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn a_chain_in_the_wrong_order_is_refused() {
    let now = Timestamp::now();
    let authority = CertificateAuthority::new(HOUR, now).unwrap();
    let leaf = authority
        .issue(&["a.test".to_owned()], HOUR, now)
        .unwrap();
    let turned = format!("{}{}", authority.certificate_pem(), leaf.chain_pem);
    let error = Pair::load(turned.as_bytes(), leaf.key_pem.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the private key does not belong to the certificate"
    );
}
