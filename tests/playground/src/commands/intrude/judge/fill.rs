use std::collections::{BTreeMap, BTreeSet};

use agentkube::images::ImageSettings;
use serde_json::Value;

use super::PLACEHOLDER;
use crate::commands::intrude::{
    history::Kind,
    parts::{agent_image, container, items, token, variables},
};

/// What admission put into a pod that somebody else wrote.
pub(super) struct Fill {
    image: String,
    variables: BTreeMap<String, Value>,
    /// Names of variables that were there before.
    present: BTreeSet<String>,
    pull_secrets: Vec<String>,
    /// Pull secrets that were there before.
    own_pull_secrets: BTreeSet<String>,
    /// The names of what the variables and pull secrets bring.
    pub(super) references: BTreeSet<String>,
}

impl Fill {
    /// What was put in place of an Agent's or a Tool's placeholder, if one was.
    pub(super) fn find(kind: Kind, pod: &Value, request: &Value) -> Option<Self> {
        let asked = items(request, "/spec/containers").find(|container| {
            container
                .get("image")
                .is_some_and(|image| image == kind.placeholder())
        })?;
        let filled = container(pod, "containers", asked.get("name")?.as_str()?)?;
        let image = filled.get("image")?.as_str()?;
        if image.starts_with(PLACEHOLDER) {
            return None;
        }
        let present: BTreeSet<_> = variables(Some(asked))
            .as_object()?
            .keys()
            .cloned()
            .collect();
        let variables: BTreeMap<_, _> = variables(Some(filled))
            .as_object()?
            .iter()
            .filter(|(name, _)| !present.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let names = |pod: &Value| -> Vec<String> {
            items(pod, "/spec/imagePullSecrets")
                .filter_map(|secret| Some(secret.get("name")?.as_str()?.to_owned()))
                .collect()
        };
        let own_pull_secrets: BTreeSet<_> = names(request).into_iter().collect();
        let pull_secrets: Vec<_> = names(pod)
            .into_iter()
            .filter(|name| !own_pull_secrets.contains(name))
            .collect();
        let tokens = variables.values().filter_map(|source| {
            source
                .pointer("/secretKeyRef/name")?
                .as_str()
        });
        let references = pull_secrets
            .iter()
            .map(String::as_str)
            .chain(tokens)
            .map(|name| format!("Secret {name}"))
            .collect();
        Some(Self {
            image: image.to_owned(),
            variables,
            present,
            pull_secrets,
            own_pull_secrets,
            references,
        })
    }

    /// Whether it is what this spec says.
    pub(super) fn is_from(&self, kind: Kind, spec: &Value, settings: &ImageSettings) -> bool {
        if kind == Kind::Tool {
            return spec
                .get("image")
                .is_some_and(|image| image == self.image.as_str());
        }
        let variables: BTreeMap<_, _> = token(spec)
            .into_iter()
            .filter(|(name, _)| !self.present.contains(name))
            .collect();
        let pull: Vec<_> = items(spec, "/imagePullSecrets")
            .filter_map(|secret| secret.get("name")?.as_str())
            .filter(|name| !self.own_pull_secrets.contains(*name))
            .collect();
        agent_image(spec, settings).as_deref() == Some(&self.image)
            && variables == self.variables
            && pull == self.pull_secrets
    }
}
