use std::process::ExitCode;

use kube::Client;

use super::output;
use crate::{
    checks::{self, CheckFinding, Installation, Level},
    telemetry::CheckKind,
};

/// Prints one line per finding: its level (`ok`, `skipped`, `warning` or `error`), its subject, and what
/// to do. Fails if there is an error.
pub(super) async fn run(
    settings: &[anyhow::Error],
    client: anyhow::Result<Client>,
    subject: &Installation,
) -> anyhow::Result<ExitCode> {
    let mut findings: Vec<_> = settings
        .iter()
        .map(|error| finding(CheckKind::Settings, Level::Error, format!("{error:#}")))
        .collect();
    if findings.is_empty() {
        let text = "all settings are valid";
        findings.push(finding(CheckKind::Settings, Level::Ok, text.to_owned()));
    }
    match client {
        Ok(client) => findings.extend(checks::look(&client, subject).await),
        Err(error) => findings.push(finding(
            CheckKind::ApiServer,
            Level::Error,
            format!("{error:#}"),
        )),
    }
    let mut lines = String::new();
    for finding in &findings {
        // Some messages have several lines; a finding is one line.
        let line = finding.to_string();
        let parts: Vec<_> = line.lines().map(str::trim).collect();
        lines.push_str(&parts.join(" "));
        lines.push('\n');
    }
    output::data(&lines)?;
    let is_wrong = findings
        .iter()
        .any(|finding| finding.level == Level::Error);
    Ok(if is_wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn finding(check: CheckKind, level: Level, text: String) -> CheckFinding {
    CheckFinding {
        check,
        level,
        text,
        is_told: false,
    }
}
