//! The resource definitions of other projects, as these publish them.

use std::{env, fs};

use anyhow::{Context, bail};

use crate::golang::{
    cache::{cache_of, lock},
    module::{Module, folder, why_no_go},
};

/// The Go module that requires the definitions.
const MODULE: Module = Module {
    folder: "definitions",
    title: "the definitions of other projects",
    time: "seconds",
};

/// A module with definitions (Apache-2.0), and a file in it.
type Source = (&'static str, &'static str);

const REPORTS: Source = (
    "github.com/openreports/reports-api",
    "config/crd/openreports.io_reports.yaml",
);

const MONITORING: [Source; 2] = [
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
];

/// The CRD `reports.openreports.io`, as YAML.
///
/// # Errors
///
/// It is not in the cache and Go is missing, or Go cannot download the module.
pub async fn report_crd() -> anyhow::Result<String> {
    definition(REPORTS).await
}

/// The CRDs `podmonitors` and `prometheusrules` of `monitoring.coreos.com`, as YAML.
///
/// # Errors
///
/// They are not in the cache and Go is missing, or Go cannot download the module.
pub async fn monitoring_crds() -> anyhow::Result<String> {
    let [monitors, rules] = MONITORING;
    Ok(format!(
        "{}\n---\n{}",
        definition(monitors).await?,
        definition(rules).await?
    ))
}

/// A definition from the cache `agentkube/definitions/HASH`, or from the module's folder, and then kept, as Go may
/// be gone later.
async fn definition((dependency, file): Source) -> anyhow::Result<String> {
    let cache = cache_of(MODULE, [file].into_iter())?;
    let kept = cache.join("definition.yaml");
    if let Ok(text) = fs::read_to_string(&kept) {
        return Ok(text);
    }
    if let Some(reason) = why_no_go(MODULE) {
        bail!(
            "cannot download the definitions of `{dependency}`: {reason}\n\n\
             hint: install Go 1.26 or newer (https://go.dev/dl)"
        );
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let _lock = lock(MODULE, &cache).await?;
    let path = folder(MODULE, dependency, &env::temp_dir())
        .await?
        .join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    // A rename is all or nothing: whoever finds the file finds it whole.
    let unfinished = cache.join("definition.yaml.unfinished");
    fs::write(&unfinished, &text)?;
    fs::rename(&unfinished, &kept)?;
    Ok(text)
}
