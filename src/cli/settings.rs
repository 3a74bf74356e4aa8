//! The sources of a command's settings.

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

/// The manager's container, whose environment holds the settings.
const CONTAINER: &str = "manager";

/// The options that choose the settings of a command outside a cluster: the environment, or one of two
/// files instead; `--set` overrides both.
#[derive(clap::Args, Debug, Default)]
pub(super) struct SettingsArgs {
    /// Read the settings from this file of NAME=VALUE lines
    #[arg(long, value_name = "FILE", conflicts_with = "manager")]
    env_file: Option<PathBuf>,
    /// Read the settings from the manager's Deployment in this manifest
    #[arg(long, value_name = "FILE")]
    manager: Option<PathBuf>,
    /// Override one setting (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or settings are invalid; all problems are reported at once.
    pub(super) fn policy(&self) -> anyhow::Result<Policy> {
        self.policy_with([])
    }

    /// Reads the settings, with more on top.
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

    /// Reads the settings; those that `running` reads take the place of the environment.
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

/// Variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Reads the environment of the manager in its Deployment.
///
/// # Errors
///
/// The Deployment has no container `manager`.
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
/// Settings are invalid; all problems are reported at once.
pub(super) fn from_environment() -> anyhow::Result<Policy> {
    parse(&of_environment())
}

/// Parses the settings; other variables are ignored.
///
/// # Errors
///
/// Settings are invalid; all problems are reported at once.
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

/// The environment of the container `manager` of a Deployment. Variables with `valueFrom` are skipped;
/// no setting is meant to use it.
fn of_manager(path: &Path) -> anyhow::Result<Variables> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)?)
        .with_context(|| format!("{} is not valid YAML", path.display()))?;
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
            "{} must hold one Deployment with a container `{CONTAINER}` and holds {} \
             (hint: `kubectl kustomize manifests/ > manager.yaml`)",
            path.display(),
            containers.len()
        );
    };
    Ok(environment(container))
}

/// All containers `manager` of a Deployment.
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
