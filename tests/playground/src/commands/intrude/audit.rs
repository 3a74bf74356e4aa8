//! What the API server wrote down of every change to Agents, Tools and pods, whoever made it.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Starts the name of every namespace that is looked at.
pub(super) const PREFIX: &str = "intrude-";

/// A request that the API server answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Event {
    /// When it came.
    pub(super) received: Timestamp,
    /// When it was answered.
    pub(super) at: Timestamp,
    /// In whose name it was sent.
    pub(super) user: String,
    pub(super) verb: String,
    /// `pods`, or `pods/status`.
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) code: u64,
    pub(super) request: Value,
    pub(super) response: Value,
}

impl Event {
    /// Reads a line of the log; `None` if it is no change in a namespace that is looked at.
    pub(super) fn read(line: &Value) -> Option<Self> {
        let text = |pointer: &str| line.pointer(pointer)?.as_str();
        let namespace = text("/objectRef/namespace")?;
        if !namespace.starts_with(PREFIX) {
            return None;
        }
        let resource = text("/objectRef/resource")?;
        Some(Self {
            received: text("/requestReceivedTimestamp")?
                .parse()
                .ok()?,
            at: text("/stageTimestamp")?.parse().ok()?,
            user: text("/impersonatedUser/username")
                .or_else(|| text("/user/username"))?
                .to_owned(),
            verb: text("/verb")?.to_owned(),
            resource: match text("/objectRef/subresource") {
                Some(subresource) => format!("{resource}/{subresource}"),
                None => resource.to_owned(),
            },
            namespace: namespace.to_owned(),
            name: text("/responseObject/metadata/name")
                .or_else(|| text("/objectRef/name"))
                .unwrap_or_default()
                .to_owned(),
            code: line
                .pointer("/responseStatus/code")?
                .as_u64()?,
            request: line
                .get("requestObject")
                .cloned()
                .unwrap_or_default(),
            response: line
                .get("responseObject")
                .cloned()
                .unwrap_or_default(),
        })
    }

    /// Whether it was done.
    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// The API server's audit log.
pub(super) struct AuditLog {
    directory: TempDir,
    tail: Mutex<Tail>,
}

/// How far the log was read, and what was found.
#[derive(Default)]
struct Tail {
    reader: Option<BufReader<File>>,
    /// A line of which the end is not written yet.
    partial: String,
    events: HashMap<String, Vec<Event>>,
}

impl AuditLog {
    pub(super) fn new() -> anyhow::Result<Self> {
        let log = Self {
            directory: tempfile::tempdir()?,
            tail: Mutex::default(),
        };
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "omitManagedFields": true,
            "rules": [
                {"level": "None", "users": ["kwok", "system:kube-scheduler"]},
                {
                    "level": "RequestResponse",
                    "verbs": ["create", "update", "patch", "delete"],
                    "resources": [
                        {"group": "agentkube.io", "resources": ["agents", "tools"]},
                        {"group": "", "resources": [
                            "pods", "pods/ephemeralcontainers", "pods/resize", "pods/status",
                        ]},
                        {"group": "apps", "resources": ["deployments"]},
                    ],
                },
                {"level": "None"},
            ],
        });
        std::fs::write(log.file("policy.json"), policy.to_string())?;
        Ok(log)
    }

    /// What the API server has to be told.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.file("policy.json").display()),
            format!("--audit-log-path={}", self.file("audit.log").display()),
            // Written before the answer is sent, so that nobody need wait.
            "--audit-log-mode=blocking".to_owned(),
            "--audit-log-maxsize=64".to_owned(),
            "--audit-log-maxbackup=1".to_owned(),
        ]
    }

    /// Reads on. It has to be called now and then: the API server starts new files, and deletes old ones.
    pub(super) fn follow(&self) -> anyhow::Result<()> {
        let mut tail = self
            .tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let path = self.file("audit.log");
        loop {
            if tail.reader.is_none() && path.exists() {
                tail.reader = Some(BufReader::new(File::open(&path)?));
            }
            let Some(read) = tail.reader.as_ref() else {
                return Ok(());
            };
            // Looked at before the file is read to its end, or what is written in between would be lost.
            let is_current = std::fs::metadata(&path).is_ok_and(|now| {
                read.get_ref()
                    .metadata()
                    .is_ok_and(|read| read.ino() == now.ino())
            });
            tail.read_to_end()?;
            if is_current {
                return Ok(());
            }
            tail.reader = None;
            if !path.exists() {
                return Ok(());
            }
        }
    }

    /// Takes everything that happened in a namespace up to now.
    pub(super) fn take(&self, namespace: &str) -> anyhow::Result<Vec<Event>> {
        self.follow()?;
        let mut tail = self
            .tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(tail
            .events
            .remove(namespace)
            .unwrap_or_default())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Tail {
    fn read_to_end(&mut self) -> anyhow::Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        while reader.read_line(&mut self.partial)? > 0 {
            if !self.partial.ends_with('\n') {
                break;
            }
            if self.partial.contains(PREFIX)
                && let Some(event) = Event::read(&serde_json::from_str(&self.partial)?)
            {
                self.events
                    .entry(event.namespace.clone())
                    .or_default()
                    .push(event);
            }
            self.partial.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_on_where_it_ended_and_into_the_next_file() {
        let log = AuditLog::new().unwrap();
        let line = |user: &str| {
            let event = json!({
                "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
                "stageTimestamp": "2026-01-01T00:00:00.000000Z", "verb": "patch",
                "user": {"username": "admin"}, "impersonatedUser": {"username": user},
                "objectRef": {"resource": "pods", "subresource": "status", "namespace": "intrude-7", "name": "p"},
                "responseStatus": {"code": 200}, "responseObject": {"kind": "Pod"},
            });
            format!("{event}\n")
        };
        let (first, second, third) = (line("one"), line("two"), line("three"));
        let file = log.file("audit.log");
        let (half, rest) = second.split_at(20);
        std::fs::write(&file, format!("{first}{half}")).unwrap();
        log.follow().unwrap();
        let so_far = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{so_far}{rest}")).unwrap();
        std::fs::rename(&file, log.file("audit-old.log")).unwrap();
        std::fs::write(&file, third).unwrap();
        let events = log.take("intrude-7").unwrap();
        let users: Vec<_> = events
            .iter()
            .map(|event| event.user.as_str())
            .collect();
        assert_eq!(users, ["one", "two", "three"]);
        assert!(
            events
                .iter()
                .all(|event| event.resource == "pods/status" && event.name == "p")
        );
        assert!(
            log.take("intrude-7")
                .unwrap()
                .is_empty()
        );
    }
}
