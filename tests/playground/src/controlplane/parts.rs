//! The files that a control plane is made of.

/// A file that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubectl,
    Kwok,
    Stages,
}

pub(crate) const PARTS: [Part; 7] = [
    Part::Etcd,
    Part::KubeApiserver,
    Part::KubeControllerManager,
    Part::KubeScheduler,
    Part::Kubectl,
    Part::Kwok,
    Part::Stages,
];

impl Part {
    /// The name of the file, in the cache and among the assets.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Stages => "stages.yaml",
        }
    }

    /// The Go package that it is built from, unless it is no program.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Self::Etcd => Some("go.etcd.io/etcd/server/v3"),
            Self::KubeApiserver => Some("k8s.io/kubernetes/cmd/kube-apiserver"),
            Self::KubeControllerManager => Some("k8s.io/kubernetes/cmd/kube-controller-manager"),
            Self::KubeScheduler => Some("k8s.io/kubernetes/cmd/kube-scheduler"),
            Self::Kubectl => Some("k8s.io/kubernetes/cmd/kubectl"),
            Self::Kwok => Some("sigs.k8s.io/kwok/cmd/kwok"),
            Self::Stages => None,
        }
    }
}
