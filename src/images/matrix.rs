//! The matrix: every image that agentkube launches, one row each.
//!
//! The CRD's enum of runtimes, the variables, the placeholders and the pod builder all come from
//! [`MATRIX`]. A new image is a new row here and a new [`Component`]; `.ci/generate` then writes
//! the CRD, and the tables of the chart, the README and the docs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::images::{DEFAULT_REGISTRY, ImageReference};

/// Every row in the order of [`Component`] and of the documentation: infrastructure first.
pub static MATRIX: &[Row] = &[
    Row {
        component: Component::Manager,
        name: "Manager",
        kind: ComponentKind::Infrastructure,
        repository: Some("adaptivelive/agentkube-manager"),
        tag: "v0.3.0",
        placeholder: Some("manager"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_MANAGER"),
    },
    Row {
        component: Component::Agentlet,
        name: "Agentlet",
        kind: ComponentKind::Infrastructure,
        repository: Some("adaptivelive/agentkube-agentlet"),
        tag: "v0.3.0",
        placeholder: Some("agentlet"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_AGENTLET"),
    },
    Row {
        component: Component::SessionRecorder,
        name: "SessionRecorder",
        kind: ComponentKind::Infrastructure,
        repository: Some("adaptivelive/agentkube-session-recorder"),
        tag: "v0.3.0",
        placeholder: Some("session-recorder"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_SESSION_RECORDER"),
    },
    Row {
        component: Component::ClaudeCode,
        name: "ClaudeCode",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/claudecode"),
        tag: "v0.3.0",
        placeholder: Some("claudecode"),
        token: Some("ANTHROPIC_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CLAUDECODE"),
    },
    Row {
        component: Component::Codex,
        name: "Codex",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/codex"),
        tag: "v0.3.0",
        placeholder: Some("codex"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CODEX"),
    },
    Row {
        component: Component::OpenCode,
        name: "OpenCode",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/opencode"),
        tag: "v0.3.0",
        placeholder: Some("opencode"),
        token: Some("OPENCODE_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_OPENCODE"),
    },
    Row {
        component: Component::Aider,
        name: "Aider",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/aider"),
        tag: "v0.3.0",
        placeholder: Some("aider"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_AIDER"),
    },
    Row {
        component: Component::Cline,
        name: "Cline",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/cline"),
        tag: "v0.3.0",
        placeholder: Some("cline"),
        token: Some("ANTHROPIC_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CLINE"),
    },
    Row {
        component: Component::Goose,
        name: "Goose",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/goose"),
        tag: "v0.3.0",
        placeholder: Some("goose"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_GOOSE"),
    },
    Row {
        component: Component::Cursor,
        name: "Cursor",
        kind: ComponentKind::Runtime,
        repository: Some("adaptivelive/cursor"),
        tag: "v0.3.0",
        placeholder: Some("cursor"),
        token: Some("CURSOR_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CURSOR"),
    },
    Row {
        component: Component::Custom,
        name: "Custom",
        kind: ComponentKind::Runtime,
        repository: None,
        tag: "",
        placeholder: None,
        token: None,
        variable: None,
    },
];

/// All rows of the matrix.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    MATRIX.iter()
}

/// The program of a container: a row of the matrix, or a Tool's own image. In the order of the
/// rows.
///
/// Written as its name, `SessionRecorder`, on pods, in status and in the CRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Component {
    /// The manager itself.
    Manager,
    /// The sidecar that drives a runtime's command line, one per run.
    Agentlet,
    /// The sidecar that captures the asciicast stream.
    SessionRecorder,
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// `OpenAI`'s Codex.
    Codex,
    /// `OpenCode`.
    OpenCode,
    /// Aider.
    Aider,
    /// Cline.
    Cline,
    /// Goose.
    Goose,
    /// Cursor.
    Cursor,
    /// A runtime with the image of the Agent's `spec.image`.
    Custom,
    /// A Tool. It has no row, since it has no default image.
    Tool,
}

impl Component {
    /// The name, as written in specs and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row()
            .map_or("Tool", |row| row.name)
    }

    /// The component's row. Only a Tool has none.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        // Components are numbered like the rows, and Tool comes after the last; a test ensures
        // this.
        MATRIX.get(self as usize)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The purpose of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentKind {
    /// Part of agentkube's own machinery.
    Infrastructure,
    /// A coding agent, selectable as `spec.runtime`.
    Runtime,
}

/// One image of the matrix, with everything that depends on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The component that this row describes.
    pub component: Component,
    /// The component's name, as written in specs and status.
    pub name: &'static str,
    /// The purpose of the component.
    pub kind: ComponentKind,
    /// The repository below [`DEFAULT_REGISTRY`], such as `adaptivelive/claudecode`; `None` if
    /// there is no default image.
    pub repository: Option<&'static str>,
    /// The row's own pinned tag; empty if there is no default image.
    pub tag: &'static str,
    /// The path below the placeholder host that stands for this row in a pod, such as
    /// `session-recorder`.
    pub placeholder: Option<&'static str>,
    /// The environment variable with the runtime's token.
    pub token: Option<&'static str>,
    /// The manager's variable that overrides this image for the whole cluster.
    pub variable: Option<&'static str>,
}

impl Row {
    /// The row that a placeholder's path stands for, such as `claudecode`.
    #[must_use]
    pub(crate) fn by_placeholder(path: &str) -> Option<&'static Self> {
        rows().find(|row| row.placeholder == Some(path))
    }

    /// The full default reference, such as `docker.io/adaptivelive/claudecode:v0.3.0`.
    #[must_use]
    pub fn default_image(&self) -> Option<ImageReference> {
        let image = format!("{DEFAULT_REGISTRY}/{}:{}", self.repository?, self.tag);
        // A test ensures that every row is valid.
        image.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn components() -> impl Iterator<Item = Component> {
        rows()
            .map(|row| row.component)
            .chain([Component::Tool])
    }

    #[test]
    fn the_matrix_is_the_published_one() {
        let table: Vec<_> = rows()
            .map(|row| {
                format!(
                    "{}|{:?}|{}|{}|{}|{}",
                    row.component,
                    row.kind,
                    row.default_image()
                        .as_ref()
                        .map_or("", ImageReference::as_str),
                    row.placeholder.unwrap_or_default(),
                    row.token.unwrap_or_default(),
                    row.variable.unwrap_or_default(),
                )
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn every_component_but_tool_has_exactly_one_row() {
        // Numbers have no gaps: each one below that of Tool is a component with this row.
        assert_eq!(Component::Tool as usize, MATRIX.len());
        for (number, row) in rows().enumerate() {
            assert_eq!(row.component as usize, number, "{}", row.name);
            assert_eq!(row.component.row(), Some(row));
        }
        assert_eq!(Component::Tool.row(), None);
    }

    #[test]
    fn components_are_written_as_their_names() {
        for component in components() {
            let json = serde_json::to_value(component).unwrap();
            assert_eq!(json, component.as_str());
            assert_eq!(
                serde_json::from_value::<Component>(json).unwrap(),
                component
            );
        }
    }

    #[test]
    fn default_images_are_complete_and_their_own_normal_form() {
        for row in rows().filter(|row| row.repository.is_some()) {
            let reference = row.default_image().unwrap();
            assert_eq!(reference.normalized(), reference.as_str());
            assert_eq!(reference.host(), DEFAULT_REGISTRY);
            assert!(reference.tag().is_some() && !reference.pull_always());
        }
    }

    #[test]
    fn names_within_the_matrix_do_not_collide() {
        // Custom has neither of them.
        let distinct = |values: Vec<&str>| {
            values
                .iter()
                .collect::<BTreeSet<_>>()
                .len()
                == MATRIX.len() - 1
        };
        assert!(distinct(
            rows()
                .filter_map(|row| row.variable)
                .collect()
        ));
        assert!(distinct(
            rows()
                .filter_map(|row| row.placeholder)
                .collect()
        ));
        // A mirror that flattens paths keeps only the last component.
        let names = rows().filter_map(|row| row.repository?.rsplit('/').next());
        assert!(distinct(names.collect()));
    }

    #[test]
    fn placeholders_name_their_rows() {
        let row = Row::by_placeholder("session-recorder").unwrap();
        assert_eq!(row.component, Component::SessionRecorder);
        for stranger in [
            "",
            "custom",
            "Custom",
            "agent",
            "tool",
            "ClaudeCode",
            "codex:v1",
        ] {
            assert_eq!(Row::by_placeholder(stranger), None, "{stranger}");
        }
    }
}
