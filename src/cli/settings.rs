//! Where the settings of a command come from.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::{admission::Policy, images::SettingProblem};

/// The container of the manager's Deployment whose environment holds the settings.
const CONTAINER: &str = "manager";

/// Where the settings of a command that runs outside a cluster come from: the environment, or one
/// of the two files in its place; `--set` on top.
#[derive(clap::Args, Debug, Default)]
pub(super) struct SettingsArgs {
    /// Take the settings from this file of NAME=VALUE lines
    #[arg(long, value_name = "FILE", conflicts_with = "manager")]
    env_file: Option<PathBuf>,
    /// Take the settings from the manager's Deployment in this manifest
    #[arg(long, value_name = "FILE")]
    manager: Option<PathBuf>,
    /// Set one setting, whatever the others say
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or every problem with the settings at once.
    pub(super) fn policy(&self) -> anyhow::Result<Policy> {
        self.policy_with([])
    }

    /// Reads the settings, with more on top of them.
    ///
    /// # Errors
    ///
    /// The same as [`policy`](Self::policy).
    pub(super) fn policy_with<const N: usize>(
        &self,
        more: [(&str, &str); N],
    ) -> anyhow::Result<Policy> {
        let mut variables = match self.file()? {
            Some(variables) => variables,
            None => of_environment(),
        };
        variables.extend(self.set.iter().cloned());
        variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        parse(&variables)
    }

    /// Reads the settings, with those that `running` reads in place of the environment.
    ///
    /// # Errors
    ///
    /// The same as [`policy`](Self::policy), and what `running` fails with.
    pub(super) async fn policy_or(
        &self,
        running: impl Future<Output = anyhow::Result<Variables>>,
    ) -> anyhow::Result<Policy> {
        let mut variables = match self.file()? {
            Some(variables) => variables,
            None => running.await?,
        };
        variables.extend(self.set.iter().cloned());
        parse(&variables)
    }

    fn file(&self) -> anyhow::Result<Option<Variables>> {
        let Self {
            env_file,
            manager,
            set: _,
        } = self;
        match (env_file, manager) {
            (Some(path), _) => of_file(path).map(Some),
            (None, Some(path)) => of_manager(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Variables by their names.
pub(super) type Variables = BTreeMap<String, String>;

/// Reads the environment of the manager in its Deployment.
///
/// # Errors
///
/// No container `manager`.
pub(super) fn of_deployment(deployment: &Value) -> anyhow::Result<Variables> {
    let containers = containers(deployment);
    let [container] = containers.as_slice() else {
        bail!("the Deployment has no container `{CONTAINER}`");
    };
    Ok(environment(container))
}

/// Reads the settings from the environment of this process.
///
/// # Errors
///
/// Every problem at once.
pub(super) fn from_environment() -> anyhow::Result<Policy> {
    parse(&of_environment())
}

/// Reads settings; other variables are not looked at.
///
/// # Errors
///
/// Every problem at once.
pub(super) fn parse(variables: &Variables) -> anyhow::Result<Policy> {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    Policy::parse(variables).map_err(|problems| anyhow!(refusal(&problems)))
}

fn refusal(problems: &[SettingProblem]) -> String {
    let mut text = "these settings cannot be used:".to_owned();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {problem}");
    }
    text
}

fn of_environment() -> Variables {
    env::vars_os()
        .filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        })
        .collect()
}

fn of_file(path: &Path) -> anyhow::Result<Variables> {
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(read(path)?.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) =
            assignment(line).map_err(|error| anyhow!("{}:{number}: {error}", path.display()))?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// The environment of the container `manager` of a Deployment. Values that come from elsewhere
/// (`valueFrom`) are not known here, and none of the settings is meant to.
fn of_manager(path: &Path) -> anyhow::Result<Variables> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)?)
        .with_context(|| format!("{} is no YAML", path.display()))?;
    let containers = documents
        .iter()
        .filter(|object| {
            object
                .get("kind")
                .and_then(Value::as_str)
                == Some("Deployment")
        })
        .flat_map(containers)
        .collect::<Vec<_>>();
    let [container] = containers.as_slice() else {
        bail!(
            "{} holds {} Deployments with a container `{CONTAINER}`, and one is needed \
             (hint: `kubectl kustomize manifests/ > manager.yaml`)",
            path.display(),
            containers.len()
        );
    };
    Ok(environment(container))
}

/// The manager's container in a Deployment, as often as it is there.
fn containers(deployment: &Value) -> Vec<&Value> {
    deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|container| {
            container
                .get("name")
                .and_then(Value::as_str)
                == Some(CONTAINER)
        })
        .collect()
}

fn environment(container: &Value) -> Variables {
    let env = container
        .get("env")
        .and_then(Value::as_array);
    env.into_iter()
        .flatten()
        .filter_map(|entry| {
            let text = |member| Some(entry.get(member)?.as_str()?.to_owned());
            Some((text("name")?, text("value")?))
        })
        .collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.trim().is_empty())
        .map(|(name, value)| (name.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "not of the form NAME=VALUE".to_owned())
}
