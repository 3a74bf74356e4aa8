//! Keys, certificates, tokens and kubeconfig files of one control plane. All of them are made at its start and go with it.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::loopback::random;

/// The names that the API server is called by, from outside and from inside a cluster.
const NAMES: [&str; 5] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Who gets a token: the person, and the components under their usual names, so that audit logs and admission
/// tell them apart. All are in `system:masters`.
const USERS: [&str; 4] = [
    "admin",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "kwok",
];

/// The files, all in the state directory.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The certificate authority of the API server.
    pub(crate) ca_pem: String,
    pub(crate) ca: PathBuf,
    /// The API server's serving certificate and its key.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Signs the tokens of service accounts; the other half checks them.
    pub(crate) account_key: PathBuf,
    pub(crate) account_public_key: PathBuf,
    /// Token, user and group, a line for each of [`USERS`].
    pub(crate) tokens: PathBuf,
    pub(crate) admin: PathBuf,
    pub(crate) controller_manager: PathBuf,
    pub(crate) scheduler: PathBuf,
    pub(crate) kwok: PathBuf,
}

impl Credentials {
    /// Makes everything that is needed to serve and to use the API server at the URL `server`.
    pub(crate) fn create(directory: &Path, server: &str) -> anyhow::Result<Self> {
        let (ca_pem, certificate_pem, key_pem) =
            serving_certificate().context("cannot make a certificate")?;
        let account = KeyPair::generate().context("cannot make a key")?;
        let file = |name: &str, text: &str| write(directory.join(name), text);
        let ca = file("ca.crt", &ca_pem)?;

        let mut tokens = String::new();
        let mut kubeconfigs = Vec::new();
        for user in USERS {
            let token = token()?;
            writeln!(tokens, "{token},{user},{user},system:masters")?;
            let name = user.trim_start_matches("system:");
            kubeconfigs.push(kubeconfig(directory, name, server, &ca, &token)?);
        }
        let [admin, controller_manager, scheduler, kwok] = kubeconfigs
            .try_into()
            .ok()
            .context("there is a kubeconfig for each user")?;
        Ok(Self {
            certificate: file("apiserver.crt", &certificate_pem)?,
            key: file("apiserver.key", &key_pem)?,
            account_key: file("sa.key", &account.serialize_pem())?,
            account_public_key: file("sa.pub", &account.public_key_pem())?,
            tokens: file("tokens.csv", &tokens)?,
            ca_pem,
            ca,
            admin,
            controller_manager,
            scheduler,
            kwok,
        })
    }
}

/// Writes `NAME.kubeconfig`, by which the bearer of `token` reaches `server`.
pub(crate) fn kubeconfig(
    directory: &Path,
    name: &str,
    server: &str,
    ca: &Path,
    token: &str,
) -> anyhow::Result<PathBuf> {
    // The CA stands there as a file: base64 would need a crate.
    let ca = ca.display();
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
  - name: playground
    cluster:
      server: {server}
      certificate-authority: {ca}
users:
  - name: {name}
    user:
      token: {token}
contexts:
  - name: playground
    context:
      cluster: playground
      user: {name}
current-context: playground
"
    );
    write(directory.join(format!("{name}.kubeconfig")), &text)
}

/// A CA, and a certificate of it with its key, in PEM. The API server would make its own, with RSA keys, which takes it
/// up to a second, and would tell nobody the CA before it is up.
fn serving_certificate() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::CommonName, "agentkube playground CA");
    let ca_key = KeyPair::generate()?;
    let ca = params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(params, ca_key);

    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok((ca, certificate, key.serialize_pem()))
}

fn token() -> anyhow::Result<String> {
    let bytes = random::<16>().context("no random numbers for a token")?;
    let mut token = String::new();
    for byte in bytes {
        write!(token, "{byte:02x}")?;
    }
    Ok(token)
}

/// Writes a file that nobody else may read.
fn write(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}
