use std::fmt;

use crate::telemetry::CheckKind;

/// A finding of a check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CheckFinding {
    /// The check.
    pub check: CheckKind,
    /// The severity.
    pub level: Level,
    /// The problem and a hint on how to solve it.
    pub text: String,
    /// True if a running manager already logs the problem itself.
    pub is_told: bool,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// Everything is in order.
    Ok,
    /// The check could not run, and is optional.
    Skipped,
    /// It works, but is not in order, or soon will not be.
    Warning,
    /// It does not work.
    Error,
}

impl CheckFinding {
    pub(super) fn ok(check: CheckKind, text: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, text)
    }

    pub(super) fn skipped(check: CheckKind, text: impl Into<String>) -> Self {
        Self::new(check, Level::Skipped, text)
    }

    pub(super) fn warning(check: CheckKind, text: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, text)
    }

    pub(super) fn error(check: CheckKind, text: impl Into<String>) -> Self {
        Self::new(check, Level::Error, text)
    }

    pub(super) fn told(self) -> Self {
        Self {
            is_told: true,
            ..self
        }
    }

    /// True if an administrator has to act.
    #[must_use]
    pub(crate) fn is_problem(&self) -> bool {
        self.level >= Level::Warning
    }

    fn new(check: CheckKind, level: Level, text: impl Into<String>) -> Self {
        Self {
            check,
            level,
            text: text.into(),
            is_told: false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One line, such as `error    crds           …`.
impl fmt::Display for CheckFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            check, level, text, ..
        } = self;
        write!(f, "{level:<8} {:<14} {text}", check.as_str())
    }
}
