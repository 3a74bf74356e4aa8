//! Checks of a manager's surroundings: before it starts, by `agentkube manager --check`, and while it
//! runs.
//!
//! ```text
//! [ Installation ] -> each check -> [ CheckFinding ] -> lines on the terminal
//!                                          -> a word in the log, and a metric
//! ```
//!
//! Both ways to run a check share its code and its messages. No check changes anything.

mod api_server;
mod crds;
mod finding;
mod foreign_leader;
mod installations;
mod permissions;
mod policies;
mod registrations;
mod secret;
mod subject;
mod watch;

use kube::Client;

use self::registrations::Registrations;
pub(crate) use self::{
    finding::{CheckFinding, Level},
    policies::asked_since,
    subject::Installation,
    watch::watch,
};
use crate::{api::Readable, watch::why_unreadable};

/// Runs every check.
///
/// RBAC: that of the manager. An administrator's rights reveal more: a second installation, and the
/// rights of the manager's account.
pub(crate) async fn look(client: &Client, subject: &Installation) -> Vec<CheckFinding> {
    let mut findings = vec![api_server::look(client).await];
    if findings
        .iter()
        .any(|finding| finding.level == Level::Error)
    {
        return findings;
    }
    findings.push(crds::look(client).await);
    findings.push(permissions::look(client, subject).await);
    let registrations = Registrations::read(client).await;
    findings.extend(match &subject.tls_dir {
        Some(directory) => {
            vec![secret::look_at_directory(directory, subject, &registrations).await]
        }
        None => secret::look(client, subject).await,
    });
    findings.extend(registrations.look(subject));
    findings.extend(policies::look(client, subject).await);
    findings.push(installations::look(client, subject).await);
    findings
}

/// The object, if it exists and can be read.
fn read<T>(object: Option<Readable<T>>) -> Result<Option<T>, kube::Error> {
    object
        .map(Readable::read)
        .transpose()
        .map_err(|unread| {
            let why = why_unreadable(&unread.field);
            kube::Error::SerdeError(serde::de::Error::custom(why))
        })
}
