//! What happened in a playground, as JSON for programs and as text for people.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::objects::{
    agents::{AgentReport, ImageReport},
    apply::{Applied, Rejected, Warning},
};

/// How wide the text is, in characters, where no single word is wider.
const WIDTH: usize = 110;

/// What happened. As JSON it is the document of `cargo playground -- --json`; its `Display` is for people.
#[derive(Debug, Serialize)]
pub struct Report {
    /// All Agents of the cluster.
    pub agents: Vec<AgentReport>,
    /// What the API server refused.
    pub rejected: Vec<Rejected>,
    /// The Rejections that were recorded of it, as the API server holds them.
    pub rejections: Vec<Value>,
    /// The warnings that it gave.
    #[serde(serialize_with = "texts")]
    pub warnings: Vec<Warning>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seconds {
    /// Until the control plane was up.
    #[serde(serialize_with = "seconds")]
    pub control_plane: Duration,
    /// From there until agentkube was installed and the webhooks answered.
    #[serde(serialize_with = "seconds")]
    pub manager: Duration,
    /// Until every Agent was settled.
    #[serde(serialize_with = "seconds")]
    pub total: Duration,
}

impl Report {
    /// Puts together what is known.
    #[must_use]
    pub fn new(
        agents: Vec<AgentReport>,
        applied: Applied,
        rejections: Vec<Value>,
        seconds: Seconds,
    ) -> Self {
        let Applied { rejected, warnings } = applied;
        Self {
            agents,
            rejected,
            rejections,
            warnings,
            seconds,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            agents,
            rejected,
            rejections,
            warnings,
            seconds,
        } = self;
        write_agents(f, agents)?;
        if !rejected.is_empty() {
            writeln!(f, "\nRejected")?;
        }
        for refusal in rejected {
            let (object, code, reason) = (refusal.object(), refusal.code, &refusal.reason);
            writeln!(f, "\n  {object}  {code} {reason}")?;
            writeln!(f, "      {}", refusal.file)?;
            write_wrapped(f, &refusal.printed)?;
        }
        if !rejections.is_empty() {
            writeln!(f, "\n  {} recorded as Rejections", rejections.len())?;
        }
        if !warnings.is_empty() {
            writeln!(f, "\nWarnings")?;
        }
        let mut last = None;
        for Warning { object, text } in warnings {
            if last.replace(object) != Some(object) {
                writeln!(f, "\n  {object}")?;
            }
            write_wrapped(f, text)?;
        }
        let Seconds {
            control_plane,
            manager,
            total,
        } = seconds;
        let rest = total.saturating_sub(*control_plane + *manager);
        writeln!(
            f,
            "\nTook {:.1} s: control plane {:.1} s, manager {:.1} s, manifests {:.1} s",
            total.as_secs_f64(),
            control_plane.as_secs_f64(),
            manager.as_secs_f64(),
            rest.as_secs_f64(),
        )
    }
}

fn write_agents(f: &mut fmt::Formatter<'_>, agents: &[AgentReport]) -> fmt::Result {
    const HEAD: [&str; 5] = ["AGENT", "PHASE", "READY", "POD", "NODE"];
    if agents.is_empty() {
        return writeln!(f, "No Agents");
    }
    let or_dash = |text: &Option<String>| {
        text.clone()
            .unwrap_or_else(|| "-".to_owned())
    };
    let rows: Vec<[String; 5]> = agents
        .iter()
        .map(|agent| {
            [
                format!("{}/{}", agent.namespace, agent.name),
                or_dash(&agent.phase),
                or_dash(&agent.ready),
                or_dash(&agent.pod),
                or_dash(&agent.node),
            ]
        })
        .collect();
    let row_widths = widths(
        rows.iter()
            .chain([&HEAD.map(str::to_owned)]),
    );
    let images: Vec<_> = agents
        .iter()
        .flat_map(|agent| &agent.images)
        .map(image_row)
        .collect();
    let image_widths = widths(images.iter());

    writeln!(f, "Agents\n")?;
    write_row(f, "  ", &HEAD, &row_widths)?;
    for (agent, row) in agents.iter().zip(&rows) {
        writeln!(f)?;
        write_row(f, "  ", row, &row_widths)?;
        for image in &agent.images {
            write_row(f, "      ", &image_row(image), &image_widths)?;
        }
        if !agent.token_env.is_empty() {
            writeln!(
                f,
                "      reads {} from a Secret",
                agent.token_env.join(", ")
            )?;
        }
        // The first is what the others follow from.
        let unmet = agent
            .conditions
            .iter()
            .find(|condition| condition.status != "True" && !condition.message.is_empty());
        if let Some(condition) = unmet {
            let (kind, reason) = (&condition.type_, &condition.reason);
            write_wrapped(f, &format!("{kind}: {reason}: {}", condition.message))?;
        }
    }
    Ok(())
}

/// The container, what it runs, and why.
fn image_row(image: &ImageReport) -> [String; 3] {
    let source = image.source.as_deref();
    let why = match (source, &image.variable) {
        (Some(source), Some(variable)) => format!("{source} by {variable}"),
        (Some("resource"), None) => "resource: its own spec.image".to_owned(),
        (Some(source), None) => source.to_owned(),
        (None, _) => "as written".to_owned(),
    };
    [image.container.clone(), image.image.clone(), why]
}

/// The widest cell of each column.
fn widths<'a, const N: usize>(rows: impl Iterator<Item = &'a [String; N]>) -> [usize; N] {
    rows.fold([0; N], |mut widths, row| {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
        widths
    })
}

fn write_row<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    row: &[impl AsRef<str>; N],
    widths: &[usize; N],
) -> fmt::Result {
    let mut line = indent.to_owned();
    for (cell, width) in row.iter().zip(widths) {
        write!(line, "{:<width$}  ", cell.as_ref())?;
    }
    writeln!(f, "{}", line.trim_end())
}

/// Breaks lines between words.
fn write_wrapped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    const INDENT: &str = "      ";
    for paragraph in text.lines() {
        let mut line = INDENT.to_owned();
        for word in paragraph.split_whitespace() {
            let wanted = line.chars().count() + 1 + word.chars().count();
            if wanted > WIDTH && line != INDENT {
                writeln!(f, "{line}")?;
                INDENT.clone_into(&mut line);
            }
            if line != INDENT {
                line.push(' ');
            }
            line.push_str(word);
        }
        writeln!(f, "{line}")?;
    }
    Ok(())
}

/// In the document a warning is its text.
fn texts<S: Serializer>(warnings: &[Warning], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        warnings
            .iter()
            .map(|warning| &warning.text),
    )
}

/// Three decimals.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let image = ImageReport {
            container: "agent".to_owned(),
            component: Some("Codex".to_owned()),
            image: "registry.example.com/mirror/adaptivelive/codex:v0.3.0".to_owned(),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            source: Some("mirror".to_owned()),
            variable: Some("AGENTKUBE_IMAGE_REGISTRY".to_owned()),
        };
        let agent = AgentReport::example(vec![image]);
        let rejected = Rejected {
            file: "bad.yaml".to_owned(),
            kind: "Agent".to_owned(),
            namespace: Some("n".to_owned()),
            name: "bad".to_owned(),
            code: 422,
            reason: "ImageRequired".to_owned(),
            message: "denied".to_owned(),
            printed: format!("The Agent \"bad\" is invalid: {}", "very ".repeat(30)),
        };
        let warning = Warning {
            object: "Agent n/a".to_owned(),
            text: "no token".to_owned(),
        };
        let applied = Applied {
            rejected: vec![rejected],
            warnings: vec![warning],
        };
        let seconds = Seconds {
            control_plane: Duration::from_micros(4_000_400),
            manager: Duration::from_secs(1),
            total: Duration::from_millis(7_500),
        };
        Report::new(vec![agent], applied, Vec::new(), seconds)
    }

    #[test]
    fn people_read_what_runs_and_why() {
        let text = report().to_string();
        let expected = "\
Agents

  AGENT  PHASE    READY  POD  NODE

  n/a    Running  1/1    a    node-1
      agent  registry.example.com/mirror/adaptivelive/codex:v0.3.0  mirror by AGENTKUBE_IMAGE_REGISTRY
      reads OPENAI_API_KEY from a Secret

Rejected

  Agent n/bad  422 ImageRequired
      bad.yaml
      The Agent \"bad\" is invalid: very very very very very very very very very very very very very very very
      very very very very very very very very very very very very very very very

Warnings

  Agent n/a
      no token

Took 7.5 s: control plane 4.0 s, manager 1.0 s, manifests 2.5 s
";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_read_one_document() {
        let document = serde_json::to_value(report()).unwrap();
        let expected = serde_json::json!({
            "agents": [{
                "namespace": "n",
                "name": "a",
                "phase": "Running",
                "ready": "1/1",
                "pod": "a",
                "node": "node-1",
                "tokenEnv": ["OPENAI_API_KEY"],
                "images": [{
                    "container": "agent",
                    "component": "Codex",
                    "image": "registry.example.com/mirror/adaptivelive/codex:v0.3.0",
                    "imagePullPolicy": "IfNotPresent",
                    "source": "mirror",
                    "variable": "AGENTKUBE_IMAGE_REGISTRY",
                }],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": ""}],
            }],
            "rejected": [{
                "file": "bad.yaml",
                "kind": "Agent",
                "namespace": "n",
                "name": "bad",
                "code": 422,
                "reason": "ImageRequired",
                "message": "denied",
            }],
            "rejections": [],
            "warnings": ["no token"],
            "seconds": {"controlPlane": 4.0, "manager": 1.0, "total": 7.5},
        });
        assert_eq!(document, expected);
    }
}
