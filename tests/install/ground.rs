use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use agentkube_playground::{
    Binaries, ControlPlane, ControlPlaneOptions, Manager, ManagerOptions, free_ports, locate_helm,
    until,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::{document, needed, path};

/// How long a condition may take to come true. A busy machine may need ten times the usual, and a
/// garbage collector that has just begun up to a minute.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// The webhooks of both registrations, in their order.
const WEBHOOKS: [(&str, &[&str]); 2] = [
    (
        "MutatingWebhookConfiguration",
        &["/mutate", "/mutate", "/rewrite-defaults"],
    ),
    (
        "ValidatingWebhookConfiguration",
        &["/validate", "/validate"],
    ),
];

/// A control plane with nothing on it, and a folder in which commands of the documentation do what they say.
///
/// `manifests/` in that folder is the shipped one with another address of the webhooks, because nothing routes to a
/// Service here: managers are processes of this machine.
pub(crate) struct Ground {
    pub(crate) control_plane: ControlPlane,
    folder: TempDir,
    programs: std::ffi::OsString,
    webhook_port: u16,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ground {
    /// Starts one, with these components beside the base and these patches behind everything.
    pub(crate) async fn start(components: &[&str], patches: &str) -> Option<Self> {
        let options = ControlPlaneOptions::default();
        Self::start_with(options, components, patches).await
    }

    pub(crate) async fn start_with(
        options: ControlPlaneOptions,
        components: &[&str],
        patches: &str,
    ) -> Option<Self> {
        let binaries = needed(Binaries::locate().await)?;
        let helm = needed(locate_helm().await)?;
        let control_plane = ControlPlane::start(&binaries, options).await;
        let control_plane = control_plane.expect("a control plane");
        let [webhook_port] = free_ports().expect("a free port");
        let folders = [&binaries.kubectl, &helm].map(|program| {
            let folder = program.parent().expect("a folder");
            folder.to_owned()
        });
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let programs = folders
            .into_iter()
            .chain(std::env::split_paths(&theirs));
        let ground = Self {
            control_plane,
            folder: tempfile::tempdir().expect("a folder"),
            programs: std::env::join_paths(programs).expect("a PATH"),
            webhook_port,
        };
        ground.write_manifests(components, patches);
        Some(ground)
    }

    fn write_manifests(&self, components: &[&str], patches: &str) {
        symlink(path(""), self.path("shipped")).expect("a link");
        let manifests = self.path("manifests");
        fs::create_dir(&manifests).expect("a folder");
        symlink(path("manifests/chart"), manifests.join("chart")).expect("a link");
        let mut text = "resources: [../shipped/manifests]\ncomponents:\n".to_owned();
        for component in components {
            text.extend(["- ../shipped/manifests/components/", component, "\n"]);
        }
        text.extend(["patches:\n", patches]);
        for (kind, paths) in WEBHOOKS {
            text.extend(["- target: { kind: ", kind, " }\n  patch: |\n"]);
            for (number, path) in paths.iter().enumerate() {
                let config = format!("/webhooks/{number}/clientConfig");
                let url = format!("https://127.0.0.1:{}{path}", self.webhook_port);
                text.extend([
                    format!("    - {{ op: remove, path: {config}/service }}\n"),
                    format!("    - {{ op: add, path: {config}/url, value: '{url}' }}\n"),
                ]);
            }
        }
        fs::write(manifests.join("kustomization.yaml"), text).expect("it is written");
    }

    /// A path in the folder that commands run in.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Runs a line of a shell.
    pub(crate) async fn run(&self, line: &str) -> Said {
        self.run_with(line, "").await
    }

    /// Runs a line of a shell with `input` on its stdin.
    pub(crate) async fn run_with(&self, line: &str, input: &str) -> Said {
        let mut child = tokio::process::Command::new("bash")
            .args(["-euc", line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", &self.programs)
            .env("KUBECONFIG", self.control_plane.admin_kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash runs");
        let mut stdin = child
            .stdin
            .take()
            .expect("stdin is piped");
        // A command that fails early reads nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output();
        let output = tokio::time::timeout(3 * LIMIT, output)
            .await
            .unwrap_or_else(|_| panic!("`{line}` does not end"))
            .expect("an end");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs a line that has to succeed, and says what it printed.
    pub(crate) async fn expect(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert!(said.success, "`{line}`: {said:?}");
        said.stdout
    }

    /// Runs the commands of one block in a section of `docs/operations.md`, and says what they printed.
    pub(crate) async fn follow(&self, section: &str, block: usize) -> String {
        let mut printed = String::new();
        for command in document::commands(section, block) {
            printed += &self.expect(&command).await;
        }
        printed
    }

    /// Starts a manager where the registrations point, and waits until it is ready.
    pub(crate) async fn manager(&self, args: &[&str]) -> Manager {
        let options = ManagerOptions {
            webhook_port: Some(self.webhook_port),
            args: args
                .iter()
                .map(|&arg| arg.to_owned())
                .collect(),
            ..ManagerOptions::new(env!("CARGO_BIN_EXE_agentkube"))
        };
        Manager::start(&self.control_plane, options)
            .await
            .expect("the manager")
    }

    /// Has the API server admit an Agent, without creating it.
    pub(crate) async fn try_agent(&self, image: &str) -> Said {
        let agent = format!(
            "{{apiVersion: agentkube.io/v1alpha1, kind: Agent, metadata: {{name: probe}}, \
             spec: {{runtime: Codex, image: '{image}'}}}}"
        );
        let line = "kubectl apply --server-side --dry-run=server --filename -";
        self.run_with(line, &agent).await
    }

    /// Waits until the webhooks refuse what only they refuse, and take what is right.
    pub(crate) async fn until_admitting(&self) {
        let mut last = None;
        let admitting = until("the webhooks to answer", LIMIT, async || {
            let wrong = self
                .try_agent("https://quay.io/a:v1")
                .await;
            let right = self.try_agent("quay.io/a:v1").await;
            // Of the webhooks' own words: for `Invalid`, kubectl prints the causes alone.
            let admitting = wrong
                .stderr
                .contains("(hint: begin with the host")
                && right.success;
            last = Some((wrong, right));
            Ok(admitting.then_some(()))
        });
        let admitting = admitting.await;
        assert!(admitting.is_ok(), "{admitting:?}: {last:?}");
    }

    /// Waits until a line succeeds.
    pub(crate) async fn until_succeeds(&self, line: &str, input: &str) -> String {
        let mut last = None;
        let what = format!("`{line}`");
        let found = until(&what, LIMIT, async || {
            let said = self.run_with(line, input).await;
            let stdout = said
                .success
                .then(|| said.stdout.clone());
            last = Some(said);
            Ok(stdout)
        });
        let found = found.await;
        found.unwrap_or_else(|error| panic!("{error:#}: {last:?}"))
    }

    /// The authorities in all webhooks, as base64.
    pub(crate) async fn bundles(&self) -> Vec<String> {
        let bundles = "kubectl get mutatingwebhookconfiguration,validatingwebhookconfiguration agentkube-manager \
                       --output jsonpath='{range .items[*].webhooks[*]}{.clientConfig.caBundle}{\"\\n\"}{end}'";
        let printed = self.expect(bundles).await;
        printed
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits until every webhook has an authority.
    pub(crate) async fn until_bundled(&self) -> Vec<String> {
        let bundles = until("caBundle in every webhook", LIMIT, async || {
            let bundles = self.bundles().await;
            let all = bundles.len() == 5
                && bundles
                    .iter()
                    .all(|bundle| !bundle.is_empty());
            Ok(all.then_some(bundles))
        });
        bundles.await.expect("caBundle")
    }

    /// Writes a file for a command.
    pub(crate) fn write(&self, file: impl AsRef<Path>, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("the file is written");
    }
}
