use jiff::Timestamp;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchResources, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{Api, Client, Resource, ResourceExt};

use super::{CheckFinding, Installation, read};
use crate::{
    admission::{AdmissionPolicy, admission_policies, reference_policies},
    api::Readable,
    scan::AskedSince,
    telemetry::CheckKind,
};

const GROUP_VERSION: &str = "admissionregistration.k8s.io/v1";
const RESOURCE: &str = "validatingadmissionpolicies";

const NOTHING_HELD: &str = "so references are not checked while the webhooks are down, and labels of pods can be changed through their status";
const APPLY: &str = "`agentkube policies | kubectl apply --server-side -f -`";

/// Checks that the API server itself protects the ownership labels of pods and checks references, with
/// the policies of this version.
///
/// RBAC: `get` on the policies and their bindings.
pub(super) async fn look(client: &Client, subject: &Installation) -> Vec<CheckFinding> {
    let mut live = Vec::new();
    for shipped in admission_policies() {
        match LivePolicies::read(client, &shipped).await {
            Ok(found) => live.push((shipped, found)),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                let text = format!("no permission to read them: {}", status.message);
                return vec![CheckFinding::skipped(CheckKind::Policies, text)];
            }
            Err(error) => {
                let text = format!("they cannot be read: {error}");
                return vec![CheckFinding::skipped(CheckKind::Policies, text)];
            }
        }
    }
    let is_missing = live
        .iter()
        .all(|(_, live)| live.policy.is_none());
    if is_missing && !is_served(client).await {
        let text = format!(
            "the API server does not serve {RESOURCE} of {GROUP_VERSION}, {NOTHING_HELD} (hint: use Kubernetes 1.30 or later)"
        );
        return vec![CheckFinding::warning(CheckKind::Policies, text)];
    }
    let (ownership, references) = live.split_at(1);
    let expected = if subject.authorizes_references {
        &live
    } else {
        ownership
    };
    let mut findings: Vec<_> = expected
        .iter()
        .filter_map(|(shipped, live)| live.judge(shipped))
        .map(|text| CheckFinding::error(CheckKind::Policies, text))
        .collect();
    if !subject.authorizes_references {
        findings.extend(against_the_setting(references));
    }
    if findings.is_empty() {
        let text = if subject.authorizes_references {
            "the API server itself protects the ownership labels of pods and checks references"
        } else {
            "the API server itself protects the ownership labels of pods, and does not check references, as AGENTKUBE_AUTHORIZE_REFERENCES=false asks"
        };
        findings.push(CheckFinding::ok(CheckKind::Policies, text));
    }
    findings
}

/// The time since which the API server itself checks references, with the policies of this version.
///
/// RBAC: `get` on the policies and their bindings.
///
/// # Errors
///
/// The policies cannot be read.
pub(crate) async fn asked_since(client: &Client) -> Result<AskedSince, kube::Error> {
    let [agents, tools] = reference_policies();
    Ok(AskedSince {
        agents: since(client, &agents).await?,
        tools: since(client, &tools).await?,
    })
}

async fn since(
    client: &Client,
    shipped: &AdmissionPolicy,
) -> Result<Option<Timestamp>, kube::Error> {
    let live = LivePolicies::read(client, shipped).await?;
    if live.judge(shipped).is_some() {
        return Ok(None);
    }
    let created = |meta: Option<&ObjectMeta>| Some(meta?.creation_timestamp.as_ref()?.0);
    let policy = created(live.policy.as_ref().map(Resource::meta));
    let binding = created(
        live.binding
            .as_ref()
            .map(Resource::meta),
    );
    Ok(policy.max(binding))
}

/// A policy and its binding, as they are in the cluster.
struct LivePolicies {
    policy: Option<ValidatingAdmissionPolicy>,
    binding: Option<ValidatingAdmissionPolicyBinding>,
}

impl LivePolicies {
    async fn read(client: &Client, shipped: &AdmissionPolicy) -> Result<Self, kube::Error> {
        let policies: Api<Readable<ValidatingAdmissionPolicy>> = Api::all(client.clone());
        let bindings: Api<Readable<ValidatingAdmissionPolicyBinding>> = Api::all(client.clone());
        let policy = policies
            .get_opt(&shipped.policy.name_any())
            .await?;
        let binding = bindings
            .get_opt(&shipped.binding.name_any())
            .await?;
        Ok(Self {
            policy: read(policy)?,
            binding: read(binding)?,
        })
    }

    /// The problem with the policy, if any.
    fn judge(&self, shipped: &AdmissionPolicy) -> Option<String> {
        let name = shipped.policy.name_any();
        let Some(policy) = &self.policy else {
            return Some(format!(
                "ValidatingAdmissionPolicy `{name}` does not exist, {} (hint: {APPLY})",
                shipped.without
            ));
        };
        let Some(binding) = &self.binding else {
            return Some(format!(
                "ValidatingAdmissionPolicyBinding `{name}` does not exist, and without it the policy is not enforced (hint: {APPLY})"
            ));
        };
        let kind = if !is_as_shipped(policy, &shipped.policy) {
            "ValidatingAdmissionPolicy"
        } else if binding.spec != shipped.binding.spec {
            "ValidatingAdmissionPolicyBinding"
        } else {
            return None;
        };
        Some(format!(
            "{kind} `{name}` differs from that of this version: it was edited, or belongs to another version (hint: {APPLY})"
        ))
    }
}

/// True if a policy equals the shipped one, apart from the defaults of the API server.
fn is_as_shipped(live: &ValidatingAdmissionPolicy, shipped: &ValidatingAdmissionPolicy) -> bool {
    let mut spec = live.spec.clone();
    if let Some(MatchResources {
        object_selector: selector,
        ..
    }) = spec
        .as_mut()
        .and_then(|spec| spec.match_constraints.as_mut())
        && selector
            .as_ref()
            .is_some_and(|selector| *selector == LabelSelector::default())
    {
        *selector = None;
    }
    spec == shipped.spec
}

/// Finds a reference policy that is enforced although the setting turns it off.
fn against_the_setting(live: &[(AdmissionPolicy, LivePolicies)]) -> Option<CheckFinding> {
    let (shipped, _) = live
        .iter()
        .find(|(_, live)| live.policy.is_some() && live.binding.is_some())?;
    let name = shipped.policy.name_any();
    Some(CheckFinding::warning(
        CheckKind::Policies,
        format!(
            "ValidatingAdmissionPolicy `{name}` is enforced although AGENTKUBE_AUTHORIZE_REFERENCES is false: the API server refuses what the manager permits (hint: `kubectl delete validatingadmissionpolicybinding {name}`, or unset the variable)"
        ),
    ))
}

/// True if the API server supports such policies, or if this cannot be read. Every authenticated user
/// may ask this.
async fn is_served(client: &Client) -> bool {
    match client
        .list_api_group_resources(GROUP_VERSION)
        .await
    {
        Ok(served) => served
            .resources
            .iter()
            .any(|resource| resource.name == RESOURCE),
        Err(kube::Error::Api(status)) => !status.is_not_found(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        checks::Level,
        fake_api::{Api as FakeApi, Reply},
    };

    const POLICY: &str = "/validatingadmissionpolicies/agentkube-agent-references";
    const BINDING: &str = "/validatingadmissionpolicybindings/agentkube-agent-references";

    /// An API server that serves these resources, and has no object.
    fn serving(resources: &[&str]) -> FakeApi {
        let api = FakeApi::default();
        let resources: Vec<_> = resources
            .iter()
            .map(|name| json!({"name": name, "singularName": "", "namespaced": false, "kind": "Any", "verbs": ["get"]}))
            .collect();
        let list = json!({"kind": "APIResourceList", "groupVersion": GROUP_VERSION, "resources": resources});
        api.on(
            "GET",
            "/apis/admissionregistration.k8s.io/v1",
            Reply::ok(list),
        );
        for kind in [
            "/validatingadmissionpolicies/",
            "/validatingadmissionpolicybindings/",
        ] {
            api.on("GET", kind, Reply::error(404, "NotFound", "not found"));
        }
        api
    }

    /// An API server with the policies as it keeps them.
    fn installed() -> FakeApi {
        with(&["agent-references", "pod-ownership", "tool-references"])
    }

    /// An API server with these of the policies.
    fn with(names: &[&str]) -> FakeApi {
        let api = serving(&["validatingadmissionpolicies"]);
        let kinds = [
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        ];
        for (kind, name) in kinds.into_iter().flat_map(|kind| {
            names
                .iter()
                .map(move |name| (kind, name))
        }) {
            let path = format!("/{kind}/agentkube-{name}");
            let shipped = admission_policies()
                .into_iter()
                .find(|shipped| path.ends_with(&shipped.policy.name_any()))
                .unwrap();
            let object = if kind.ends_with("bindings") {
                serde_json::to_value(shipped.binding).unwrap()
            } else {
                let mut policy = serde_json::to_value(shipped.policy).unwrap();
                policy["spec"]["matchConstraints"]["objectSelector"] = json!({});
                policy["status"] = json!({"observedGeneration": 1});
                policy
            };
            api.on("GET", String::leak(path), Reply::ok(object));
        }
        api
    }

    fn edited(path: &str, pointer: &str, value: Value) -> Reply {
        let [shipped, _] = reference_policies();
        let mut object = if path == POLICY {
            serde_json::to_value(shipped.policy).unwrap()
        } else {
            serde_json::to_value(shipped.binding).unwrap()
        };
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[member] = value;
        Reply::ok(object)
    }

    async fn said(api: &FakeApi, authorizes_references: bool) -> (Level, String) {
        let subject = Installation {
            namespace: "agentkube-system".to_owned(),
            names: Vec::new(),
            tls_dir: None,
            authorizes_references,
            authorizes_metrics: false,
        };
        let findings = look(&api.client(), &subject).await;
        (findings[0].level, findings[0].text.clone())
    }

    #[tokio::test]
    async fn policies_that_are_as_shipped_are_in_order() {
        assert_eq!(said(&installed(), true).await.0, Level::Ok);
    }

    #[tokio::test]
    async fn what_is_missing_or_edited_is_named_with_the_remedy() {
        let gone = || Reply::error(404, "NotFound", "not found");
        for (path, reply, words) in [
            (
                POLICY,
                gone(),
                "Policy `agentkube-agent-references` does not exist",
            ),
            (
                BINDING,
                gone(),
                "PolicyBinding `agentkube-agent-references` does not exist",
            ),
            (
                POLICY,
                edited(POLICY, "/spec/failurePolicy", json!("Ignore")),
                "was edited",
            ),
            (
                POLICY,
                edited(POLICY, "/spec/validations", json!([])),
                "was edited",
            ),
            (
                POLICY,
                edited(
                    POLICY,
                    "/spec/matchConstraints/objectSelector",
                    json!({"matchLabels": {"asked": "yes"}}),
                ),
                "was edited",
            ),
            (
                POLICY,
                edited(
                    POLICY,
                    "/spec/matchConstraints/excludeResourceRules",
                    json!([{"resources": ["agents"]}]),
                ),
                "was edited",
            ),
            (
                BINDING,
                edited(BINDING, "/spec/validationActions", json!(["Warn"])),
                "was edited",
            ),
            (
                BINDING,
                edited(
                    BINDING,
                    "/spec/matchResources",
                    json!({"objectSelector": {"matchLabels": {"asked": "yes"}}}),
                ),
                "Binding `agentkube-agent-references` differs",
            ),
        ] {
            let api = installed();
            api.on("GET", path, reply);
            let (level, text) = said(&api, true).await;
            assert_eq!(level, Level::Error, "{path}: {text}");
            assert!(text.contains(words) && text.contains("(hint: "), "{text}");
        }
    }

    #[tokio::test]
    async fn what_the_setting_and_the_cluster_disagree_about_is_said() {
        let (level, text) = said(&installed(), false).await;
        assert_eq!(level, Level::Warning);
        assert!(
            text.contains("AGENTKUBE_AUTHORIZE_REFERENCES is false"),
            "{text}"
        );
        assert_eq!(
            said(&with(&["pod-ownership"]), false)
                .await
                .0,
            Level::Ok
        );
        let (level, text) = said(&with(&[]), false).await;
        assert_eq!(level, Level::Error);
        assert!(
            text.contains("`agentkube-pod-ownership` does not exist, so that the labels"),
            "{text}"
        );
        assert_eq!(
            said(&serving(&["validatingadmissionpolicies"]), true)
                .await
                .0,
            Level::Error
        );
    }

    #[tokio::test]
    async fn an_api_server_without_policies_is_told_from_one_with_none() {
        let (level, text) = said(&serving(&["validatingwebhookconfigurations"]), true).await;
        assert_eq!(level, Level::Warning);
        assert!(
            text.contains("does not serve validatingadmissionpolicies"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn who_may_not_read_them_is_told_so() {
        let api = installed();
        api.on("GET", BINDING, Reply::error(403, "Forbidden", "no"));
        assert_eq!(said(&api, true).await.0, Level::Skipped);
    }
}
