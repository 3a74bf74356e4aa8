//! Certificates from a directory that another program maintains, as cert-manager does through a mounted
//! Secret.
//!
//! This mode touches neither a Secret nor a caBundle: the issuer of the certificate also maintains the
//! API server's trust.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::sleep;

use super::pair::{Pair, PairError};
use crate::{
    log_once::LogOnce,
    server::{Shutdown, tls::ServingCertificate},
};

/// The default interval at which the directory is read.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Serves `tls.crt` and `tls.key` of a directory, and follows their contents until the shutdown has
/// finished.
///
/// The files are read every `interval` and compared byte by byte. Watching them would miss the way in
/// which Kubernetes updates a mounted Secret: it swaps the link `.data` to another directory. A pair
/// that cannot be served (half written, malformed, expired, not valid yet) is logged once, and the last
/// good one stays while it is valid. Chains are read, and keys in PKCS #8, PKCS #1 and SEC1.
pub async fn follow(
    directory: PathBuf,
    interval: Duration,
    serving: Arc<ServingCertificate>,
    shutdown: Shutdown,
) {
    let mut said = LogOnce::default();
    let mut served = None;
    let polling = async {
        loop {
            let outcome = poll(&directory, served.as_ref()).await;
            match outcome.and_then(|pair| in_its_time(pair, &serving, Timestamp::now())) {
                Ok(None) => {
                    said.is_over();
                }
                Ok(Some((files, pair))) => {
                    said.is_over();
                    tracing::info!(
                        directory = %directory.display(),
                        not_after = %pair.not_after(),
                        "the certificate of the directory is served"
                    );
                    serving.replace(Arc::new(pair));
                    served = Some(files);
                }
                Err(error) => {
                    let error = error.to_string();
                    if said.is_new(&error) {
                        let last_good = served.is_some();
                        tracing::warn!(
                            directory = %directory.display(),
                            %error,
                            last_good,
                            "the certificate of the directory cannot be served"
                        );
                    }
                }
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        () = polling => {}
        () = shutdown.finished() => {}
    }
}

/// The pair that a directory holds now.
///
/// # Errors
///
/// A file cannot be read, or the files are not a pair.
pub async fn load(directory: &Path) -> Result<Pair, DirectoryError> {
    let pair = poll(directory, None).await?;
    pair.map(|(_, pair)| pair)
        .ok_or(DirectoryError::Pair(PairError::NoCertificate))
}

/// The reason why a directory's pair cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The files exist but are not a pair, which also happens for a moment during an update.
    #[error(
        "`tls.crt` and `tls.key` cannot be served: {0} (hint: both must be PEM and belong together)"
    )]
    Pair(#[from] PairError),
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source} (hint: --tls-dir takes a directory with `tls.crt` and `tls.key`)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

#[derive(Eq, PartialEq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// The directory's pair; `None` if it is the served one.
async fn poll(
    directory: &Path,
    served: Option<&Files>,
) -> Result<Option<(Files, Pair)>, DirectoryError> {
    let files = Files {
        chain: read(directory.join("tls.crt")).await?,
        key: read(directory.join("tls.key")).await?,
    };
    if served == Some(&files) {
        return Ok(None);
    }
    let pair = Pair::load(&files.chain, &files.key)?;
    Ok(Some((files, pair)))
}

/// A pair that has expired or is not valid yet is an error while a valid one is served. Otherwise it is
/// served anyway, so that clients report the problem.
fn in_its_time(
    pair: Option<(Files, Pair)>,
    serving: &ServingCertificate,
    now: Timestamp,
) -> Result<Option<(Files, Pair)>, DirectoryError> {
    let Some((files, pair)) = pair else {
        return Ok(None);
    };
    if let Err(error) = pair.validity().check(now) {
        let is_better = serving
            .pair()
            .is_some_and(|served| served.validity().check(now).is_ok());
        if is_better {
            return Err(error.into());
        }
        tracing::warn!(%error, "the certificate is served although clients will reject it");
    }
    Ok(Some((files, pair)))
}

async fn read(path: PathBuf) -> Result<Vec<u8>, DirectoryError> {
    tokio::fs::read(&path)
        .await
        .map_err(|source| DirectoryError::Read { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::server::certificates::issue::{CertificateAuthority, Leaf};

    fn leaf() -> Leaf {
        let now = Timestamp::now();
        let hour = Duration::from_secs(3600);
        CertificateAuthority::new(hour, now)
            .unwrap()
            .issue(&["a.test".to_owned()], hour, now)
            .unwrap()
    }

    #[tokio::test]
    async fn equal_contents_are_not_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = leaf();
        fs::write(directory.path().join("tls.crt"), &leaf.chain_pem).unwrap();
        fs::write(directory.path().join("tls.key"), &leaf.key_pem).unwrap();

        let (files, _) = poll(directory.path(), None)
            .await
            .unwrap()
            .unwrap();

        assert!(
            poll(directory.path(), Some(&files))
                .await
                .unwrap()
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_half_written_pair_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("tls.crt"), leaf().chain_pem).unwrap();
        fs::write(directory.path().join("tls.key"), leaf().key_pem).unwrap();
        let error = poll(directory.path(), None)
            .await
            .err()
            .unwrap();
        insta::assert_snapshot!(error, @"`tls.crt` and `tls.key` cannot be served: the private key does not belong to the certificate (hint: both must be PEM and belong together)");
    }

    #[test]
    fn a_pair_out_of_its_time_does_not_replace_one_that_is_valid() {
        let now = Timestamp::now();
        let hour = Duration::from_secs(3600);
        let pair_from = |from: Timestamp| {
            let leaf = CertificateAuthority::new(hour, from)
                .unwrap()
                .issue(&["a.test".to_owned()], hour, from)
                .unwrap();
            let files = Files {
                chain: Vec::new(),
                key: Vec::new(),
            };
            let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
            Some((files, pair))
        };
        let serving = ServingCertificate::default();
        let [expired, future] = [now - hour * 2, now + hour * 2];
        // Better than nothing, and replaced by what is valid.
        for from in [expired, future, now] {
            let (_, pair) = in_its_time(pair_from(from), &serving, now)
                .unwrap()
                .unwrap();
            serving.replace(Arc::new(pair));
        }
        for from in [expired, future] {
            assert!(in_its_time(pair_from(from), &serving, now).is_err());
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let error = poll(Path::new("/nowhere"), None)
            .await
            .err()
            .unwrap();
        insta::assert_snapshot!(error, @"`/nowhere/tls.crt` cannot be read: No such file or directory (os error 2) (hint: --tls-dir takes a directory with `tls.crt` and `tls.key`)");
    }
}
