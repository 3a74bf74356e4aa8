//! The choices about a control plane.

/// What can be chosen about a control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// How many fake nodes there are.
    pub nodes: usize,
    /// Put behind the API server's own arguments, such as `--audit-policy-file=…`.
    pub extra_apiserver_args: Vec<String>,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            nodes: 2,
            extra_apiserver_args: Vec::new(),
        }
    }
}
