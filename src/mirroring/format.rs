use super::{FormatError, Plan, scripts};

/// The tool that a plan is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFormat {
    /// A shell script of `crane copy`.
    Crane,
    /// The `hosts.toml` with which containerd itself pulls from the mirror.
    Hosts,
    /// An `ImageSetConfiguration` of `oc mirror --v2`.
    OcMirror,
    /// A configuration of `regsync once`.
    Regsync,
    /// The YAML of `skopeo sync --src yaml`.
    Skopeo,
}

impl PlanFormat {
    /// Every tool.
    pub const ALL: [Self; 5] = [
        Self::Crane,
        Self::Hosts,
        Self::OcMirror,
        Self::Regsync,
        Self::Skopeo,
    ];

    /// A short description of the output, for the help.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Crane => "A shell script of `crane copy`",
            Self::Hosts => "The `hosts.toml` with which containerd itself pulls from the mirror",
            Self::OcMirror => "An `ImageSetConfiguration` of `oc mirror --v2`",
            Self::Regsync => "A configuration of `regsync once`",
            Self::Skopeo => "The YAML of `skopeo sync --src yaml`",
        }
    }

    /// The tool's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crane => "crane",
            Self::Hosts => "hosts",
            Self::OcMirror => "oc-mirror",
            Self::Regsync => "regsync",
            Self::Skopeo => "skopeo",
        }
    }

    /// Writes the plan as the tool takes it. `plain_http` names the registries without TLS, by
    /// host and port.
    ///
    /// # Errors
    ///
    /// The tool cannot do what the plan says.
    pub fn write(self, plan: &Plan, plain_http: &[&str]) -> Result<String, FormatError> {
        if plan.transfers.is_empty() {
            return Err(FormatError::Nothing);
        }
        match self {
            Self::Crane => Ok(scripts::crane(plan, plain_http)),
            Self::Hosts => scripts::hosts(plan, plain_http),
            Self::OcMirror => scripts::oc_mirror(plan, plain_http),
            Self::Regsync => Ok(scripts::regsync(plan, plain_http)),
            Self::Skopeo => scripts::skopeo(plan, plain_http),
        }
    }
}
