//! `helm`, built with Go, once.

use std::path::PathBuf;

use crate::golang::{module::Module, tools::locate};

/// The Go module with the tool.
const MODULE: Module = Module {
    folder: "helm",
    title: "helm",
    time: "about 3 minutes on 2 cores",
};

const PROGRAM: (&str, &str) = ("helm", "helm.sh/helm/v4/cmd/helm");

/// Finds `helm` in the cache `agentkube/helm/HASH`, or builds it with Go into it.
///
/// # Errors
///
/// It is not there and Go is missing, or the build fails.
pub async fn locate_helm() -> anyhow::Result<PathBuf> {
    let [helm] = locate(MODULE, [PROGRAM], &[]).await?;
    Ok(helm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golang::tools::expect_tools;

    #[test]
    fn helm_is_a_tool_of_the_module() {
        expect_tools(MODULE, &[PROGRAM.1]);
    }
}
