use std::{fs, os::unix::fs::symlink, path::PathBuf};

use agentkube_playground::{CertManager, until};

use crate::{
    ground::{Ground, LIMIT},
    needed,
};

/// The API server calls an address of this machine here, and not the Service.
const ADDRESS: &str = "- target: { kind: Certificate, name: agentkube-webhook }\n  patch: |\n    - { op: add, path: /spec/ipAddresses, value: [127.0.0.1] }\n";

/// Has cert-manager renew a certificate as its own tool asks for it.
const RENEW_ROOT: &str = "kubectl patch certificate agentkube-ca --namespace agentkube-system --subresource=status --type=json \
     --patch '[{\"op\": \"add\", \"path\": \"/status/conditions/-\", \"value\": {\"type\": \"Issuing\", \"status\": \"True\", \
     \"reason\": \"ManuallyTriggered\", \"message\": \"renewed by hand\", \"lastTransitionTime\": \"2026-01-01T00:00:00Z\"}}]'";

#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_issues_and_renews_while_admission_goes_on() {
    let Some(definitions) = needed(CertManager::definitions().await) else {
        return;
    };
    let Some(ground) = Ground::start(&["cert-manager"], ADDRESS).await else {
        return;
    };
    let applied = ground
        .run_with("kubectl apply --server-side --filename -", &definitions)
        .await;
    assert!(applied.success, "{applied:?}");
    ground
        .expect("kubectl wait --for=condition=established --timeout=1m crd/certificates.cert-manager.io crd/issuers.cert-manager.io")
        .await;
    let controllers = CertManager::start(&ground.control_plane).await;
    let controllers = controllers.expect("cert-manager");
    ground.follow("Install", 0).await;

    let mount = Mount::new(&ground);
    let issued = until("the Secret", LIMIT, async || {
        Ok(mount.sync(&ground).await.then_some(()))
    });
    let issued = issued.await;
    assert!(issued.is_ok(), "{issued:?}: {}", controllers.log_tail());
    let folder = mount.folder.to_str().expect("text");
    let manager = ground
        .manager(&["--tls-dir", folder])
        .await;
    let roots = ground.until_bundled().await;
    ground.until_admitting().await;

    // The certificate alone.
    ground
        .follow("From cert-manager", 0)
        .await;
    until_served(&ground, &mount, &manager, 2).await;
    assert_eq!(ground.bundles().await, roots);

    // The root, and a certificate of it: the injector is first, and what is served is of the root before.
    let root = "kubectl get secret agentkube-ca --namespace agentkube-system --output jsonpath='{.data.tls\\.crt}'";
    let before = ground.expect(root).await;
    ground.expect(RENEW_ROOT).await;
    let renewed = until("another root", LIMIT, async || {
        Ok((ground.expect(root).await != before).then_some(()))
    });
    let renewed = renewed.await;
    assert!(renewed.is_ok(), "{renewed:?}: {}", controllers.log_tail());
    ground
        .follow("From cert-manager", 0)
        .await;
    let injected = until("the root in caBundle", LIMIT, async || {
        expect_admission(&ground).await;
        let bundles = ground.bundles().await;
        Ok(bundles
            .iter()
            .all(|bundle| !roots.contains(bundle))
            .then_some(()))
    });
    let injected = injected.await;
    assert!(injected.is_ok(), "{injected:?}: {}", controllers.log_tail());
    ground.until_admitting().await;
    until_served(&ground, &mount, &manager, 3).await;
    ground.until_admitting().await;
}

/// Waits until the manager serves its `count`th certificate. No review fails meanwhile.
async fn until_served(
    ground: &Ground,
    mount: &Mount,
    manager: &agentkube_playground::Manager,
    count: usize,
) {
    let served = until("another certificate", LIMIT, async || {
        mount.sync(ground).await;
        expect_admission(ground).await;
        let log = manager.log();
        let served = log
            .matches("the certificate of the directory is served")
            .count();
        Ok((served >= count).then_some(()))
    });
    served
        .await
        .expect("another certificate");
}

async fn expect_admission(ground: &Ground) {
    let admitted = ground.try_agent("quay.io/a:v1").await;
    assert!(admitted.success, "{admitted:?}");
}

/// What the kubelet makes of the Secret in a pod.
struct Mount {
    folder: PathBuf,
}

impl Mount {
    fn new(ground: &Ground) -> Self {
        let folder = ground.path("tls");
        fs::create_dir(&folder).expect("a folder");
        for file in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{file}"), folder.join(file)).expect("a link");
        }
        Self { folder }
    }

    /// Brings what the Secret holds, if it is there: both files at once, by a link that is exchanged.
    async fn sync(&self, ground: &Ground) -> bool {
        let mut contents = Vec::new();
        for file in ["tls\\.crt", "tls\\.key"] {
            let line = format!(
                "kubectl get secret agentkube-webhook --namespace agentkube-system --output jsonpath='{{.data.{file}}}' | base64 --decode"
            );
            let said = ground.run(&line).await;
            if said.stdout.is_empty() {
                return false;
            }
            contents.push(said.stdout);
        }
        let live = self.folder.join("..data");
        if fs::read_to_string(live.join("tls.crt")).is_ok_and(|now| now == contents[0]) {
            return true;
        }
        let versions = fs::read_dir(&self.folder)
            .expect("the folder")
            .count();
        let version = format!("..version-{versions}");
        let next = self.folder.join(&version);
        fs::create_dir(&next).expect("a folder");
        for (file, content) in ["tls.crt", "tls.key"]
            .iter()
            .zip(&contents)
        {
            fs::write(next.join(file), content).expect("the file is written");
        }
        let link = self.folder.join("..data_tmp");
        symlink(&version, &link).expect("a link");
        fs::rename(&link, &live).expect("the link is exchanged");
        true
    }
}
