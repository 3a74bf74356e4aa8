//! The matrix: every image that agentkube launches, one row each.
//!
//! The CRD's enum of runtimes, the variables, the placeholders and the pod builder all come from
//! [`MATRIX`]. A new image is a new row here and a new [`Component`], and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The registry of every default image, written out because CRI-O refuses short names in its
/// enforcing mode.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// Every row, infrastructure first, in the order in which people see them.
pub static MATRIX: [Row; 11] = [
    Row {
        component: Component::Manager,
        kind: Kind::Infrastructure,
        repository: Some("adaptivelive/agentkube-manager"),
        tag: "v0.3.0",
        placeholder: Some("manager"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_MANAGER"),
    },
    Row {
        component: Component::Agentlet,
        kind: Kind::Infrastructure,
        repository: Some("adaptivelive/agentkube-agentlet"),
        tag: "v0.3.0",
        placeholder: Some("agentlet"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_AGENTLET"),
    },
    Row {
        component: Component::SessionRecorder,
        kind: Kind::Infrastructure,
        repository: Some("adaptivelive/agentkube-session-recorder"),
        tag: "v0.3.0",
        placeholder: Some("session-recorder"),
        token: None,
        variable: Some("AGENTKUBE_IMAGE_SESSION_RECORDER"),
    },
    Row {
        component: Component::ClaudeCode,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/claudecode"),
        tag: "v0.3.0",
        placeholder: Some("claudecode"),
        token: Some("ANTHROPIC_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CLAUDECODE"),
    },
    Row {
        component: Component::Codex,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/codex"),
        tag: "v0.3.0",
        placeholder: Some("codex"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CODEX"),
    },
    Row {
        component: Component::OpenCode,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/opencode"),
        tag: "v0.3.0",
        placeholder: Some("opencode"),
        token: Some("OPENCODE_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_OPENCODE"),
    },
    Row {
        component: Component::Aider,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/aider"),
        tag: "v0.3.0",
        placeholder: Some("aider"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_AIDER"),
    },
    Row {
        component: Component::Cline,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/cline"),
        tag: "v0.3.0",
        placeholder: Some("cline"),
        token: Some("ANTHROPIC_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CLINE"),
    },
    Row {
        component: Component::Goose,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/goose"),
        tag: "v0.3.0",
        placeholder: Some("goose"),
        token: Some("OPENAI_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_GOOSE"),
    },
    Row {
        component: Component::Cursor,
        kind: Kind::Runtime,
        repository: Some("adaptivelive/cursor"),
        tag: "v0.3.0",
        placeholder: Some("cursor"),
        token: Some("CURSOR_API_KEY"),
        variable: Some("AGENTKUBE_IMAGE_CURSOR"),
    },
    Row {
        component: Component::Custom,
        kind: Kind::Runtime,
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

/// What a container runs: a row of the matrix, or a Tool's own image.
///
/// Written as its name, `SessionRecorder`, wherever people read it: on pods, in status, in the CRD.
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
    /// A runtime that the Agent brings itself, in `spec.image`.
    Custom,
    /// A Tool. It has no row: its image is its own or none.
    Tool,
}

impl Component {
    /// The name as people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "Manager",
            Self::Agentlet => "Agentlet",
            Self::SessionRecorder => "SessionRecorder",
            Self::ClaudeCode => "ClaudeCode",
            Self::Codex => "Codex",
            Self::OpenCode => "OpenCode",
            Self::Aider => "Aider",
            Self::Cline => "Cline",
            Self::Goose => "Goose",
            Self::Cursor => "Cursor",
            Self::Custom => "Custom",
            Self::Tool => "Tool",
        }
    }

    /// The component's row. Only a Tool has none.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        rows().find(|row| row.component == self)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Part of agentkube's own machinery.
    Infrastructure,
    /// A coding agent, selectable as `spec.runtime`.
    Runtime,
}

/// One image of the matrix and everything that depends on which one it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The component that this row describes.
    pub component: Component,
    /// What the component is for.
    pub kind: Kind,
    /// The repository below [`DEFAULT_REGISTRY`], such as `adaptivelive/claudecode`; `None` where
    /// there is no default image.
    pub repository: Option<&'static str>,
    /// The row's own pinned tag; empty where there is no default image.
    pub tag: &'static str,
    /// The path below the placeholder host that stands for this row in a pod, such as
    /// `session-recorder`.
    pub placeholder: Option<&'static str>,
    /// The environment variable from which the runtime reads its token.
    pub token: Option<&'static str>,
    /// The manager's variable that overrides this image for the whole cluster.
    pub variable: Option<&'static str>,
}

impl Row {
    /// The row that a placeholder's path stands for, such as `claudecode`.
    #[must_use]
    pub fn by_placeholder(path: &str) -> Option<&'static Self> {
        rows().find(|row| row.placeholder == Some(path))
    }

    /// The default reference in full, such as `docker.io/adaptivelive/claudecode:v0.3.0`.
    #[must_use]
    pub fn default_image(&self) -> Option<String> {
        self.repository
            .map(|repository| format!("{DEFAULT_REGISTRY}/{repository}:{}", self.tag))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::images::ImageReference;

    const COMPONENTS: [Component; 12] = [
        Component::Manager,
        Component::Agentlet,
        Component::SessionRecorder,
        Component::ClaudeCode,
        Component::Codex,
        Component::OpenCode,
        Component::Aider,
        Component::Cline,
        Component::Goose,
        Component::Cursor,
        Component::Custom,
        Component::Tool,
    ];

    #[test]
    fn the_matrix_is_the_published_one() {
        let table: Vec<_> = rows()
            .map(|row| {
                format!(
                    "{}|{:?}|{}|{}|{}|{}",
                    row.component,
                    row.kind,
                    row.default_image().unwrap_or_default(),
                    row.placeholder.unwrap_or_default(),
                    row.token.unwrap_or_default(),
                    row.variable.unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(
            table,
            [
                "Manager|Infrastructure|docker.io/adaptivelive/agentkube-manager:v0.3.0|manager||AGENTKUBE_IMAGE_MANAGER",
                "Agentlet|Infrastructure|docker.io/adaptivelive/agentkube-agentlet:v0.3.0|agentlet||AGENTKUBE_IMAGE_AGENTLET",
                "SessionRecorder|Infrastructure|docker.io/adaptivelive/agentkube-session-recorder:v0.3.0|session-recorder||AGENTKUBE_IMAGE_SESSION_RECORDER",
                "ClaudeCode|Runtime|docker.io/adaptivelive/claudecode:v0.3.0|claudecode|ANTHROPIC_API_KEY|AGENTKUBE_IMAGE_CLAUDECODE",
                "Codex|Runtime|docker.io/adaptivelive/codex:v0.3.0|codex|OPENAI_API_KEY|AGENTKUBE_IMAGE_CODEX",
                "OpenCode|Runtime|docker.io/adaptivelive/opencode:v0.3.0|opencode|OPENCODE_API_KEY|AGENTKUBE_IMAGE_OPENCODE",
                "Aider|Runtime|docker.io/adaptivelive/aider:v0.3.0|aider|OPENAI_API_KEY|AGENTKUBE_IMAGE_AIDER",
                "Cline|Runtime|docker.io/adaptivelive/cline:v0.3.0|cline|ANTHROPIC_API_KEY|AGENTKUBE_IMAGE_CLINE",
                "Goose|Runtime|docker.io/adaptivelive/goose:v0.3.0|goose|OPENAI_API_KEY|AGENTKUBE_IMAGE_GOOSE",
                "Cursor|Runtime|docker.io/adaptivelive/cursor:v0.3.0|cursor|CURSOR_API_KEY|AGENTKUBE_IMAGE_CURSOR",
                "Custom|Runtime||||",
            ]
        );
    }

    #[test]
    fn every_component_but_tool_has_exactly_one_row() {
        for component in COMPONENTS {
            let count = rows()
                .filter(|row| row.component == component)
                .count();
            assert_eq!(
                count,
                usize::from(component != Component::Tool),
                "{component}"
            );
            assert_eq!(
                component.row().map(|row| row.component),
                (count == 1).then_some(component)
            );
        }
    }

    #[test]
    fn components_are_written_as_their_names() {
        for component in COMPONENTS {
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
        for image in rows().filter_map(Row::default_image) {
            let reference: ImageReference = image.parse().unwrap();
            assert_eq!(reference.normalized(), image);
            assert_eq!(reference.host(), DEFAULT_REGISTRY);
            assert!(reference.tag().is_some() && !reference.pull_always());
        }
    }

    #[test]
    fn names_within_the_matrix_do_not_collide() {
        let distinct = |values: Vec<&str>| {
            values
                .iter()
                .collect::<BTreeSet<_>>()
                .len()
                == 10
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
