//! Objects that a replica cannot read, and ones that are as large as can be.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::people::{self, NAMESPACE};

/// A namespace that the webhooks leave out: nobody refuses there what cannot be read.
const UNSERVED: &str = "kube-system";
/// A runtime of a later release.
const RUNTIME: &str = "Newer";
/// How many Agents of each kind there are at a time.
const COUNT: usize = 10;
/// How many bytes the text has that makes an Agent large.
const LARGE_BYTES: usize = 60_000;

/// What was put into a cluster, to be taken out again.
pub(super) struct Poison {
    agents: Vec<(&'static str, DynamicObject)>,
}

impl Poison {
    /// Agents of a runtime that this release does not know, and large ones, all of them paused.
    pub(super) fn new(number: u32) -> Self {
        let unreadable = json!({"spec": {"runtime": RUNTIME}});
        let large =
            json!({"spec": {"runtime": "Codex", "goal": {"inline": "x".repeat(LARGE_BYTES)}}});
        let make = |word: &str, index: usize, data: &Value| {
            let mut agent = people::agent(&format!("{word}-{number}-{index}"));
            agent.data = data.clone();
            agent
        };
        let agents = (0..COUNT)
            .flat_map(|index| {
                [
                    (UNSERVED, make("unreadable", index, &unreadable)),
                    (NAMESPACE, make("large", index, &large)),
                ]
            })
            .collect();
        Self { agents }
    }

    /// Puts them in. One that a replica could not admit at this moment is left out.
    ///
    /// # Errors
    ///
    /// The CRD cannot be changed.
    pub(super) async fn spread(&self, client: &Client) -> anyhow::Result<()> {
        admit_runtime(client).await?;
        for (namespace, agent) in &self.agents {
            let _ = people::agents(client.clone(), namespace)
                .create(&PostParams::default(), agent)
                .await;
        }
        Ok(())
    }

    /// Takes them out again.
    pub(super) async fn remove(&self, client: &Client) {
        for (namespace, agent) in &self.agents {
            let _ = people::agents(client.clone(), namespace)
                .delete(&agent.name_any(), &DeleteParams::default())
                .await;
        }
    }
}

/// Has the schema take the runtime of a later release.
async fn admit_runtime(client: &Client) -> anyhow::Result<()> {
    const NAME: &str = "agents.agentkube.io";
    const PATH: &str =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/runtime/enum";
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = serde_json::to_value(crds.get(NAME).await?)?;
    let is_known = crd
        .pointer(PATH)
        .and_then(Value::as_array)
        .is_some_and(|words| words.iter().any(|word| word == RUNTIME));
    if !is_known {
        let patch = serde_json::from_value(
            json!([{"op": "add", "path": format!("{PATH}/-"), "value": RUNTIME}]),
        )?;
        crds.patch(NAME, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await?;
    }
    Ok(())
}
