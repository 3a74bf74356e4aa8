//! Who acts in a namespace, and what each of them may use there.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

/// The Secret, ConfigMap and ServiceAccount that some authors may use.
pub(super) const OWN: &str = "own";
/// Those that only an admin may use, or who may create pods.
pub(super) const VICTIM: &str = "victim";

/// What somebody may do in a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Everything.
    Admin,
    /// Agents and Tools, and nothing else.
    Agents,
    /// Agents and Tools, and what is called [`OWN`].
    AgentsAndOwn,
    /// The status of Agents and Tools.
    AgentsStatus,
    /// Debug containers.
    Debug,
    /// Deployments, whose pods another account creates.
    Deployments,
    /// Pods, and so everything that a pod can have.
    Pods,
    /// Changes to pods.
    PodsPatch,
    /// Changes to the status of pods.
    PodsStatus,
}

impl Role {
    pub(super) const ALL: [Self; 9] = [
        Self::Admin,
        Self::Agents,
        Self::AgentsAndOwn,
        Self::AgentsStatus,
        Self::Debug,
        Self::Deployments,
        Self::Pods,
        Self::PodsPatch,
        Self::PodsStatus,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Agents => "agents",
            Self::AgentsAndOwn => "agents-and-own",
            Self::AgentsStatus => "agents-status",
            Self::Debug => "debug",
            Self::Deployments => "deployments",
            Self::Pods => "pods",
            Self::PodsPatch => "pods-patch",
            Self::PodsStatus => "pods-status",
        }
    }

    /// The name of its `ClusterRole`.
    pub(super) fn cluster_role(self) -> String {
        format!("intruder-{}", self.word())
    }

    /// The rules of its `ClusterRole`.
    pub(super) fn rules(self) -> Value {
        let may = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let all = [
            "create", "delete", "get", "list", "patch", "update", "watch",
        ];
        let change = ["get", "patch", "update"];
        let agents = may("agentkube.io", &["agents", "tools"], &all);
        let one = |resource: &str, verb: &str| json!({"apiGroups": [""], "resources": [resource], "resourceNames": [OWN], "verbs": [verb]});
        match self {
            Self::Admin => json!([may("*", &["*"], &["*"])]),
            Self::Agents => json!([agents]),
            Self::AgentsAndOwn => json!([
                agents,
                one("secrets", "get"),
                one("configmaps", "get"),
                one("serviceaccounts", "impersonate"),
            ]),
            Self::AgentsStatus => json!([
                may("agentkube.io", &["agents", "tools"], &["get"]),
                may("agentkube.io", &["agents/status", "tools/status"], &change),
            ]),
            Self::Debug => json!([
                may("", &["pods"], &["get"]),
                may("", &["pods/ephemeralcontainers"], &change),
            ]),
            Self::Deployments => json!([may("apps", &["deployments"], &all)]),
            Self::Pods => json!([
                may("", &["pods"], &all),
                may("agentkube.io", &["agents", "tools"], &["get"]),
            ]),
            Self::PodsPatch => json!([may("", &["pods"], &change)]),
            Self::PodsStatus => {
                json!([
                    may("", &["pods"], &["get"]),
                    may("", &["pods/status"], &change)
                ])
            }
        }
    }

    /// Whether it lets somebody use an object of this name, as a pod would use it. Who may create pods may have all
    /// of it anyway.
    fn lends(self, name: &str) -> bool {
        match self {
            Self::Admin | Self::Pods => true,
            Self::AgentsAndOwn => name == OWN,
            Self::Agents
            | Self::AgentsStatus
            | Self::Debug
            | Self::Deployments
            | Self::PodsPatch
            | Self::PodsStatus => false,
        }
    }
}

/// A user.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) user: String,
    pub(super) roles: Vec<Role>,
}

impl Member {
    pub(super) fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Everybody who acts in a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Cast(pub(super) Vec<Member>);

impl Cast {
    /// An admin, an author who may do nothing else, and some more.
    pub(super) fn choose(rng: &mut Rng, namespace: &str) -> Self {
        let mut roles = vec![vec![Role::Admin], vec![Role::Agents]];
        for _ in 0..rng.usize(1..=3) {
            let mut more: Vec<_> = rng
                .choice(Role::ALL)
                .into_iter()
                .collect();
            // Who changes the status of pods mostly changes pods, too.
            if more.contains(&Role::PodsStatus) && rng.bool() {
                more.push(Role::PodsPatch);
            }
            if rng.u8(..4) == 0 && !more.contains(&Role::Agents) {
                more.push(Role::Agents);
            }
            roles.push(more);
        }
        let members = roles
            .into_iter()
            .enumerate()
            .map(|(number, roles)| {
                let words: Vec<_> = roles
                    .iter()
                    .map(|role| role.word())
                    .collect();
                Member {
                    user: format!("{}-{number}@{namespace}", words.join("+")),
                    roles,
                }
            });
        Self(members.collect())
    }

    /// What everybody may use: the whole of the model of rights.
    pub(super) fn rights(&self) -> Rights {
        Rights(
            self.0
                .iter()
                .map(|member| (member.user.clone(), member.roles.clone()))
                .collect(),
        )
    }
}

/// What each user may use in a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights(pub(super) BTreeMap<String, Vec<Role>>);

impl Rights {
    /// Whether a user may use what is called so.
    pub(super) fn allow(&self, user: &str, name: &str) -> bool {
        self.0.get(user).is_some_and(|roles| {
            roles
                .iter()
                .any(|role| role.lends(name))
        })
    }
}
