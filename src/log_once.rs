//! Logs a lasting problem once.

/// Remembers the last problem, so that a lasting one is logged once.
#[derive(Debug, Default)]
pub(crate) struct LogOnce(Option<String>);

impl LogOnce {
    /// True if this problem differs from the last one.
    pub(crate) fn is_new(&mut self, trouble: &str) -> bool {
        let is_new = self.0.as_deref() != Some(trouble);
        if is_new {
            self.0 = Some(trouble.to_owned());
        }
        is_new
    }

    #[cfg(test)]
    pub(crate) fn last(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Forgets the problem. Returns true if there was one.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}
