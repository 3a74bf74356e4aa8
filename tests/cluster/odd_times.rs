//! Times that an API server keeps and this program cannot read: whoever may write an object chooses those
//! of its `managedFields`, and they stop nobody.

use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use http::Request;
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, NAMESPACE, Namespace, REGISTRATION, SECRET, agent, condition},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane: times_that_cannot_be_read_stop_nobody]
}

/// The last second of a year that is the last one for Go, and too late for others.
const ODD: &str = "9999-12-31T23:59:59Z";

/// Who claims to have written something then.
const WRITER: &str = "odd";

/// An object by its path, as it is: without types that may not hold it.
struct Raw<'c> {
    client: &'c Client,
    path: String,
}

impl Raw<'_> {
    async fn get(&self) -> anyhow::Result<Value> {
        let request = Request::get(&self.path).body(Vec::new())?;
        Ok(self.client.request(request).await?)
    }

    /// Writes what `change` makes of it, however often somebody else is faster.
    async fn change(&self, change: impl Fn(&mut Value)) -> anyhow::Result<()> {
        until(&format!("{} to be written", self.path), LIMIT, async || {
            let mut object = self.get().await?;
            change(&mut object);
            let request = Request::put(&self.path)
                .header("Content-Type", "application/json")
                .body(serde_json::to_vec(&object)?)?;
            match self
                .client
                .request::<Value>(request)
                .await
            {
                Ok(_) => Ok(Some(())),
                Err(Error::Api(status)) if status.is_conflict() => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let mut last = Value::Null;
        let found = until(what, LIMIT, async || {
            last = self.get().await?;
            Ok(wanted(&last).then_some(()))
        })
        .await;
        found.with_context(|| format!("last seen: {last}"))
    }
}

/// Who changes a field takes it from all others, so that it has to be there before.
fn label(object: &mut Value) {
    object["metadata"]["labels"][WRITER] = json!("yes");
}

fn make_odd(object: &mut Value) {
    let entry = json!({
        "manager": WRITER, "operation": "Update", "apiVersion": object["apiVersion"], "time": ODD,
        "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:odd": {}}}},
    });
    let entries = object["metadata"]["managedFields"].as_array_mut();
    entries
        .expect("what the API server keeps has managers")
        .push(entry);
    if object["kind"] == "Lease" {
        object["spec"]["acquireTime"] = json!("9999-12-31T23:59:59.000000Z");
    }
}

/// So that the tests after this one can read it.
fn make_usual(object: &mut Value) {
    if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
        entries.retain(|entry| entry["manager"] != WRITER);
    }
    if object["kind"] == "Lease" {
        object["spec"]["acquireTime"] = Value::Null;
    }
}

async fn times_that_cannot_be_read_stop_nobody(cluster: &Cluster) -> anyhow::Result<()> {
    let client = &cluster.client();
    let mut first = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("odd-times").await?;
    let armed = json!({"runtime": "Codex", "paused": false});
    ns.create(&agent("odd", &armed)).await?;
    ns.wait_running("odd").await?;
    let registrations = "/apis/admissionregistration.k8s.io/v1";
    let objects: Vec<_> = [
        format!("/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}"),
        format!("{registrations}/mutatingwebhookconfigurations/{REGISTRATION}"),
        format!("{registrations}/validatingwebhookconfigurations/{REGISTRATION}"),
        format!("{registrations}/validatingadmissionpolicies/agentkube-agent-references"),
        format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{REGISTRATION}"),
        format!(
            "/apis/agentkube.io/v1alpha1/namespaces/{}/agents/odd",
            ns.name
        ),
        format!("/api/v1/namespaces/{}/pods/odd", ns.name),
    ]
    .map(|path| Raw { client, path })
    .into();
    for object in &objects {
        object.change(label).await?;
        object.change(make_odd).await?;
        let kept = object.get().await?;
        let entries = kept["metadata"]["managedFields"].to_string();
        ensure!(entries.contains(ODD), "{}: {entries}", object.path);
    }

    let options = ManagerOptions {
        name: "agentkube-manager-2".to_owned(),
        webhook_port: None,
        ..cluster.manager_options(&[])
    };
    let second = Manager::start(&cluster.control_plane, options).await?;
    first.stop().await;
    cluster
        .point_webhooks_at(second.webhook_port())
        .await?;
    let result = serve([&first, &second], &ns, &objects).await;
    // The webhooks are needed for it.
    for object in &objects {
        object
            .change(make_usual)
            .await
            .with_context(|| format!("{result:?}"))?;
    }
    result
}

/// A replica that finds all of that when it starts does everything that one does.
async fn serve(
    [first, second]: [&Manager; 2],
    ns: &Namespace,
    objects: &[Raw<'_>],
) -> anyhow::Result<()> {
    let [_, _, validating, _, _, odd, _] = objects else {
        anyhow::bail!("another object")
    };
    until("the second to lead", LIMIT, async || {
        let metrics = second.metrics().await?;
        Ok(metrics
            .contains("agentkube_leader 1")
            .then_some(()))
    })
    .await
    .with_context(|| second.log())?;

    ns.create(&agent(
        "good",
        &json!({"runtime": "Codex", "paused": false}),
    ))
    .await?;
    ns.wait_running("good").await?;
    odd.change(|agent| agent["spec"]["paused"] = json!(true))
        .await?;
    odd.wait("the Agent to be told that it is paused", |agent| {
        condition(agent, "Ready")["message"]
            .as_str()
            .is_some_and(|message| message.contains("but the existing pod is kept"))
    })
    .await?;
    validating
        .change(|registration| {
            registration["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null;
        })
        .await?;
    validating
        .wait("caBundle to come back", |registration| {
            registration["webhooks"][0]["clientConfig"]["caBundle"].is_string()
        })
        .await?;

    for (manager, words) in [(first, "the first"), (second, "the second")] {
        let log = manager.log();
        for line in log
            .lines()
            .filter(|line| !is_about_others(line, &ns.name))
        {
            for sign in [
                "cannot be",
                "could not be",
                "left as it is",
                "left unchanged",
                "fails",
            ] {
                ensure!(!line.contains(sign), "{words}: {sign}: {line}\n{log}");
            }
        }
    }
    let metrics = second.metrics().await?;
    let wrong: Vec<_> = metrics
        .lines()
        .filter(|line| {
            line.starts_with("agentkube_problems{")
                || line.starts_with("agentkube_unreadable_objects{")
        })
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:?}\n{}", second.log());
    Ok(())
}

/// True for a log line that names a namespace of another test, whose objects may still be there.
fn is_about_others(line: &str, ours: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|line| {
        line["namespace"]
            .as_str()
            .is_some_and(|namespace| ![ours, NAMESPACE].contains(&namespace))
    })
}
