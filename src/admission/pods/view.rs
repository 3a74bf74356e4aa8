use jsonptr::PointerBuf;
use serde::Deserialize;

use crate::{
    admission::{
        patch::Patch,
        wire::{
            bounded::{Few, Known, TokenVariable, Tokens},
            text::Text,
        },
    },
    api::{MIRROR_POD_ANNOTATION, PodSlotKind},
};

/// The part of a pod that a request may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::admission) enum PodScope {
    /// Everything, since the pod is created.
    Create,
    /// Only its ephemeral containers (`kubectl debug`).
    Ephemeral,
    /// Labels, annotations and the images of its containers, among the fields that are read.
    Update,
}

impl PodScope {
    pub(in crate::admission) fn of_update(update: bool) -> Self {
        if update { Self::Update } else { Self::Create }
    }

    /// True if a request of this scope may change images of this kind.
    fn covers(self, kind: PodSlotKind) -> bool {
        match self {
            Self::Create => true,
            Self::Ephemeral => kind.is_ephemeral(),
            Self::Update => !kind.is_ephemeral(),
        }
    }
}

/// The fields of a pod that the rules read.
#[derive(Debug, Deserialize)]
pub(in crate::admission) struct PodView<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: PodMetadata<'a>,
    #[serde(borrow, default)]
    pub(super) spec: PodSpec<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodMetadata<'a> {
    /// True if the pod has metadata, false if these are defaults.
    #[serde(skip, default = "is_read")]
    pub(super) is_present: bool,
    #[serde(borrow)]
    pub(super) labels: Option<Known<'a>>,
    #[serde(borrow)]
    pub(super) annotations: Option<Known<'a>>,
    #[serde(borrow)]
    pub(super) owner_references: Option<Few<OwnerReference<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OwnerReference<'a> {
    #[serde(borrow)]
    pub(super) api_version: Text<'a>,
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) uid: Text<'a>,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec<'a> {
    #[serde(borrow)]
    pub(super) containers: Option<Few<Container<'a>>>,
    #[serde(borrow)]
    pub(super) init_containers: Option<Few<Container<'a>>>,
    #[serde(borrow)]
    pub(super) ephemeral_containers: Option<Few<Container<'a>>>,
    #[serde(borrow)]
    pub(super) volumes: Option<Few<Volume<'a>>>,
    #[serde(borrow)]
    pub(super) image_pull_secrets: Option<Few<SecretName<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) image: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) image_pull_policy: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) env: Option<Tokens<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Volume<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) image: Option<ImageVolume<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ImageVolume<'a> {
    #[serde(borrow)]
    pub(super) reference: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) pull_policy: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecretName<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

/// A place of a pod that holds an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'p> {
    pub(super) kind: PodSlotKind,
    /// The index in the list.
    pub(super) index: usize,
    /// The name of the container or volume.
    pub(super) name: &'p str,
    /// The image; absent if a higher-level controller is to set it.
    pub(super) image: Option<&'p str>,
    /// The pull policy, as the API server defaulted it.
    pub(super) pull_policy: Option<&'p str>,
    /// The token variables in the container's environment; `None` if it has no environment.
    pub(super) env: Option<&'p [TokenVariable<'p>]>,
}

impl Slot<'_> {
    /// JSON pointer of the image.
    pub(super) fn image_path(&self) -> PointerBuf {
        self.path_within(self.kind.image())
    }

    /// JSON pointer of the pull policy.
    pub(super) fn pull_policy_path(&self) -> PointerBuf {
        self.path_within(self.kind.pull_policy())
    }

    fn path_within(&self, member: &str) -> PointerBuf {
        match self.kind.within() {
            Some(within) => self.path(&[within, member]),
            None => self.path(&[member]),
        }
    }

    /// JSON pointer of a member.
    pub(super) fn path(&self, members: &[&str]) -> PointerBuf {
        let index = self.index.to_string();
        let slot = ["spec", self.kind.list(), index.as_str()];
        Patch::path(&[slot.as_slice(), members].concat())
    }

    /// Path of the image, as messages show it.
    pub(super) fn field(&self) -> String {
        self.kind.field(self.index)
    }
}

impl PodView<'_> {
    /// The value of an annotation, as a number.
    pub(super) fn number(&self, annotation: &str) -> Option<i64> {
        self.annotation(annotation)?
            .parse()
            .ok()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .value(name)
    }

    /// The value of a label; `None` if it is blank.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.metadata
            .labels
            .as_ref()?
            .value(name)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn is_mirror_pod(&self) -> bool {
        self.annotation(MIRROR_POD_ANNOTATION)
            .is_some()
    }

    /// The places whose image a request of this scope may change.
    pub(super) fn slots(&self, scope: PodScope) -> impl Iterator<Item = Slot<'_>> {
        PodSlotKind::ALL
            .iter()
            .filter(move |kind| scope.covers(**kind))
            .flat_map(|kind| self.slots_of(*kind))
    }

    fn slots_of(&self, kind: PodSlotKind) -> impl Iterator<Item = Slot<'_>> {
        let spec = &self.spec;
        let (containers, volumes) = match kind {
            PodSlotKind::Container => (spec.containers.as_ref(), None),
            PodSlotKind::EphemeralContainer => (spec.ephemeral_containers.as_ref(), None),
            PodSlotKind::InitContainer => (spec.init_containers.as_ref(), None),
            PodSlotKind::Volume => (None, spec.volumes.as_ref()),
        };
        let containers = containers
            .into_iter()
            .flatten()
            .enumerate()
            .map(move |found| container(kind, found));
        let volumes = volumes
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(move |found| volume(kind, found));
        containers.chain(volumes)
    }
}

fn is_read() -> bool {
    true
}

fn container<'p>(kind: PodSlotKind, (index, container): (usize, &'p Container<'_>)) -> Slot<'p> {
    Slot {
        kind,
        index,
        name: container.name.as_str(),
        image: container
            .image
            .as_ref()
            .map(Text::as_str),
        pull_policy: container
            .image_pull_policy
            .as_ref()
            .map(Text::as_str),
        env: container.env.as_deref(),
    }
}

fn volume<'p>(kind: PodSlotKind, (index, volume): (usize, &'p Volume<'_>)) -> Option<Slot<'p>> {
    let image = volume.image.as_ref()?;
    Some(Slot {
        kind,
        index,
        name: volume.name.as_str(),
        image: image
            .reference
            .as_ref()
            .map(Text::as_str),
        pull_policy: image
            .pull_policy
            .as_ref()
            .map(Text::as_str),
        env: None,
    })
}
