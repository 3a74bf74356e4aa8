use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    core::Status,
};
use thiserror::Error;

use super::identity::Identity;
use crate::api::{MANAGER, Readable, Rejection, RejectionSpec};

/// The most attempts of a write, when other replicas write the same Rejection.
const ATTEMPTS: usize = 5;

/// The reason why a Rejection could not be written.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    /// The API server accepts no Rejections now, so all of them wait.
    #[error("{message}")]
    Api {
        message: String,
        /// A hint on how to solve it, if known.
        hint: &'static str,
    },
    /// This one will never be accepted.
    #[error("{0}")]
    Refused(String),
}

/// Adds denials to their Rejection, which is created if it does not exist. `denied.count` is their
/// number.
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
                        "a Rejection of this name already exists for another denial".to_owned(),
                    ));
                }
                Ok(known) => Rejection {
                    spec: join(&known.spec, denied),
                    metadata: known.metadata,
                },
                // Another version wrote it and it is unreadable, so it is replaced.
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
            // Another replica was faster. Its record is read and merged.
            Err(kube::Error::Api(status)) if status.code == 409 => last = Some(status),
            // It was deleted after it was read. Without the CRD it could not have been read either,
            // and `create` reports that.
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

/// True if two records are about the same object, user and reason. So are their names, but a record
/// is only overwritten if its content matches, too.
fn is_same(known: &RejectionSpec, denied: &RejectionSpec) -> bool {
    known.object == denied.object && known.user == denied.user && known.reason == denied.reason
}

/// Merges the records of earlier and later denials. The details are those of the latest.
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
    // A denial by RBAC says "cannot" and concerns every namespace. Quotas and other admission plugins
    // refuse single namespaces.
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
