use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    core::Status,
};
use thiserror::Error;

use super::identity::Identity;
use crate::api::{MANAGER, Readable, Rejection, RejectionSpec};

/// How often a write is tried where other replicas write the same.
const ATTEMPTS: usize = 5;

/// Why a Rejection could not be written.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    /// The API server takes no Rejections now: all of them wait.
    #[error("{message}")]
    Api {
        message: String,
        /// What to do about it, where that is known.
        hint: &'static str,
    },
    /// This one will never be taken.
    #[error("{0}")]
    Refused(String),
}

/// Adds denials to their Rejection, which is created if it is not there. `denied.count` says how
/// many they are.
///
/// RBAC: `get`, `create`, `update` on rejections.
pub(super) async fn write(
    client: &Client,
    identity: &Identity,
    denied: &RejectionSpec,
) -> Result<(), WriteError> {
    let rejections: Api<Readable<Rejection>> = Api::namespaced(client.clone(), &identity.namespace);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let known = rejections
            .get_opt(&identity.name)
            .await
            .map_err(failure)?;
        let written = if let Some(known) = known {
            let joined = match known.read() {
                Ok(known) if !is_same(&known.spec, denied) => {
                    return Err(WriteError::Refused(
                        "the Rejection of this name is about something else".to_owned(),
                    ));
                }
                Ok(known) => Rejection {
                    spec: join(&known.spec, denied),
                    metadata: known.metadata,
                },
                // Another version wrote it, and nobody can tell what it says: it begins anew.
                Err(unread) => Rejection {
                    spec: denied.clone(),
                    metadata: unread.metadata,
                },
            };
            rejections
                .replace(&identity.name, &params, &Readable::Read(joined))
                .await
        } else {
            let rejection = Rejection {
                metadata: ObjectMeta {
                    name: Some(identity.name.to_string()),
                    ..ObjectMeta::default()
                },
                spec: denied.clone(),
            };
            rejections
                .create(&params, &Readable::Read(rejection))
                .await
        };
        match written {
            Ok(_) => return Ok(()),
            // Another replica was faster: what it wrote is read, and joined.
            Err(kube::Error::Api(status)) if status.code == 409 => last = Some(status),
            // It was deleted since it was read; without the CRD there would have been nothing to
            // read either, and `create` says so.
            Err(kube::Error::Api(status)) if is_gone(&status, &identity.name) => {
                last = Some(status);
            }
            Err(error) => return Err(failure(error)),
        }
    }
    Err(WriteError::Api {
        message: last.map_or_else(String::new, |status| status.message),
        hint: "",
    })
}

/// Whether two records are about the same object, user and reason. The name says so, too; but what
/// is written over has to be what it is taken for, whoever wrote it.
fn is_same(known: &RejectionSpec, denied: &RejectionSpec) -> bool {
    known.object == denied.object && known.user == denied.user && known.reason == denied.reason
}

/// The record of denials that came at different times: the latest says what, both say how often.
fn join(known: &RejectionSpec, denied: &RejectionSpec) -> RejectionSpec {
    let earlier = |a: Timestamp, b: Timestamp| a.min(b);
    let mut joined = denied.clone();
    joined.count = known.count.saturating_add(denied.count);
    joined.first_seen.0 = earlier(known.first_seen.0, denied.first_seen.0);
    joined.last_seen.0 = known
        .last_seen
        .0
        .max(denied.last_seen.0);
    joined
}

fn is_gone(status: &Status, name: &str) -> bool {
    status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.name == name)
}

fn failure(error: kube::Error) -> WriteError {
    let kube::Error::Api(status) = error else {
        return WriteError::Api {
            message: error.to_string(),
            hint: "",
        };
    };
    let is_about_namespace = status
        .details
        .as_ref()
        .is_some_and(|details| details.kind == "namespaces");
    let is_terminating = status
        .details
        .as_ref()
        .is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        });
    // RBAC knows no namespace's own reasons; quotas and other admission have nothing else.
    let is_kept_out = status.code == 403 && !status.message.contains(" cannot ");
    let is_refused = matches!(status.code, 400 | 413 | 422);
    let message = status.message.clone();
    if is_about_namespace && status.code == 404 || is_terminating || is_kept_out || is_refused {
        return WriteError::Refused(message);
    }
    let hint = match status.code {
        403 => {
            "grant get, list, watch, create, update and delete on rejections to the ServiceAccount agentkube-manager: manifests/rbac.yaml does"
        }
        404 => "install the CRDs: kubectl apply -k manifests/",
        _ => "",
    };
    WriteError::Api { message, hint }
}
