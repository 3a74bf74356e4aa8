//! The resource definition of reports, as the project that defines it publishes it.

use std::{env, fs};

use anyhow::{Context, bail};

use crate::gobuild::{self, Module};

/// The Go module that requires the definitions.
const MODULE: Module = Module {
    folder: "openreports",
    title: "the definitions of openreports.io",
    time: "seconds",
};

/// The module with the definitions (Apache-2.0), and the file in it.
const DEPENDENCY: &str = "github.com/openreports/reports-api";
const FILE: &str = "config/crd/openreports.io_reports.yaml";

/// The CRD `reports.openreports.io`, as YAML: from the cache `agentkube/openreports/HASH`, or from the
/// module's folder, and then kept, as Go may be gone later.
///
/// # Errors
///
/// It is not there and Go is missing, or Go cannot download the module.
pub async fn report_crd() -> anyhow::Result<String> {
    let cache = gobuild::cache_of(MODULE, [FILE].into_iter())?;
    let kept = cache.join("reports.yaml");
    if let Ok(text) = fs::read_to_string(&kept) {
        return Ok(text);
    }
    if let Some(reason) = gobuild::why_no_go(MODULE) {
        bail!(
            "no definitions of openreports.io, and {reason}\n\n\
             hint: install Go 1.26 or newer (https://go.dev/dl), with which they are fetched once"
        );
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let _lock = gobuild::lock(MODULE, &cache).await?;
    let path = gobuild::folder(MODULE, DEPENDENCY, &env::temp_dir())
        .await?
        .join(FILE);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    // A rename is all or nothing: whoever finds the file finds it whole.
    let unfinished = cache.join("reports.yaml.unfinished");
    fs::write(&unfinished, &text)?;
    fs::rename(&unfinished, &kept)?;
    Ok(text)
}
