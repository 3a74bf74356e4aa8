use kube::Client;

use super::CheckFinding;
use crate::telemetry::CheckKind;

/// The first minor release with everything that the registrations and CRDs use: matchConditions are
/// stable since 1.30.
const OLDEST: u32 = 30;

/// The first minor release that the tests run on.
const TESTED: u32 = 33;

/// Checks that the API server answers and is new enough.
pub(super) async fn look(client: &Client) -> CheckFinding {
    match client.apiserver_version().await {
        Ok(version) => judge(&version.major, &version.minor, &version.git_version),
        Err(error) => CheckFinding::error(
            CheckKind::ApiServer,
            format!("it does not answer: {error} (hint: check the kubeconfig and the network)"),
        ),
    }
}

fn judge(major: &str, minor: &str, version: &str) -> CheckFinding {
    let digits: String = minor
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    match (major, digits.parse::<u32>()) {
        ("1", Ok(minor)) if minor < OLDEST => CheckFinding::error(
            CheckKind::ApiServer,
            format!("{version} is too old (hint: matchConditions of webhooks need 1.{OLDEST})"),
        ),
        ("1", Ok(minor)) if minor < TESTED => CheckFinding::warning(
            CheckKind::ApiServer,
            format!("{version} is older than the tested releases (hint: use 1.{TESTED} or later)"),
        ),
        _ => CheckFinding::ok(CheckKind::ApiServer, version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Level;

    #[test]
    fn old_releases_are_told_from_new_ones() {
        for (minor, level) in [
            ("29", Level::Error),
            ("30+", Level::Warning),
            ("32", Level::Warning),
            ("33", Level::Ok),
            ("36+", Level::Ok),
        ] {
            assert_eq!(judge("1", minor, "v1").level, level, "{minor}");
        }
    }
}
