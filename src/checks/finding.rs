use std::fmt;

use crate::telemetry::CheckKind;

/// What a check found
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CheckFinding {
    /// Which check
    pub check: CheckKind,
    /// How bad it is
    pub level: Level,
    /// What it is, with what to do about it
    pub text: String,
    /// Whether a running manager says it by itself, so that it need not be said again
    pub is_told: bool,
}

/// How bad a finding is
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// As it should be
    Ok,
    /// It could not be looked for, and need not be
    Skipped,
    /// It works, and is not as it should be, or soon will not be
    Warning,
    /// It does not work
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

    /// Whether somebody has to do something
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

/// A line: `error    crds           …`
impl fmt::Display for CheckFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            check, level, text, ..
        } = self;
        write!(f, "{level:<8} {:<14} {text}", check.as_str())
    }
}
