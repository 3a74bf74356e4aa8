use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The API server's own audit log, of what concerns admission here.
pub(super) struct AuditLog(TempDir);

impl AuditLog {
    pub(super) fn new() -> anyhow::Result<Self> {
        let log = Self(tempfile::tempdir()?);
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "Metadata", "verbs": ["create", "update", "patch"], "resources": [
                    {"group": "agentkube.io", "resources": ["agents", "agents/status", "tools"]},
                    {"group": "", "resources": ["pods"]},
                ]},
                {"level": "None"},
            ],
        });
        std::fs::write(log.path("policy.json"), policy.to_string())?;
        Ok(log)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.path("policy.json").display()),
            format!("--audit-log-path={}", self.path("audit.log").display()),
            // Written before the answer is sent, so that a test need not wait.
            "--audit-log-mode=blocking".to_owned(),
        ]
    }

    pub(super) fn events(&self) -> anyhow::Result<Vec<Value>> {
        let log = std::fs::read_to_string(self.path("audit.log"))?;
        log.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }
}
