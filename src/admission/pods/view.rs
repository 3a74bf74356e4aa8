use jsonptr::PointerBuf;
use serde::Deserialize;

use crate::{
    admission::{
        bounded::{Few, Known, TokenVariable, Tokens},
        patch::Patch,
        review::Text,
    },
    api::MIRROR_POD_ANNOTATION,
};

/// Which part of a pod a request may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::admission) enum Scope {
    /// Everything: the pod is created.
    Create,
    /// Only its ephemeral containers (`kubectl debug`).
    Ephemeral,
    /// Of what is looked at, only labels, annotations and the images of its containers.
    Update,
}

impl Scope {
    pub(in crate::admission) fn of_update(update: bool) -> Self {
        if update { Self::Update } else { Self::Create }
    }
}

/// The fields of a pod that are looked at.
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
    /// Whether the pod has metadata at all, or these are made up.
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

/// One place of a pod that holds an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'p> {
    /// The list that it stands in, as a member of `spec`.
    pub(super) list: &'static str,
    /// Its index in the list.
    pub(super) index: usize,
    /// Name of the container or volume.
    pub(super) name: &'p str,
    /// The image; absent where a higher-level controller is to fill it in.
    pub(super) image: Option<&'p str>,
    /// The pull policy, as the API server defaulted it.
    pub(super) pull_policy: Option<&'p str>,
    /// The tokens in the container's environment, `None` where it has no environment.
    pub(super) env: Option<&'p [TokenVariable<'p>]>,
}

impl Slot<'_> {
    /// Whether it is an image volume and not a container.
    pub(super) fn is_volume(&self) -> bool {
        self.list == "volumes"
    }

    /// JSON pointer of the image.
    pub(super) fn image_path(&self) -> PointerBuf {
        if self.is_volume() {
            self.path(&["image", "reference"])
        } else {
            self.path(&["image"])
        }
    }

    /// JSON pointer of the pull policy.
    pub(super) fn pull_policy_path(&self) -> PointerBuf {
        if self.is_volume() {
            self.path(&["image", "pullPolicy"])
        } else {
            self.path(&["imagePullPolicy"])
        }
    }

    /// JSON pointer of a member.
    pub(super) fn path(&self, members: &[&str]) -> PointerBuf {
        let index = self.index.to_string();
        let slot = ["spec", self.list, index.as_str()];
        Patch::path(&[slot.as_slice(), members].concat())
    }

    /// Path of the image, as messages show it.
    pub(super) fn field(&self) -> String {
        let member = if self.is_volume() {
            "image.reference"
        } else {
            "image"
        };
        format!("spec.{}[{}].{member}", self.list, self.index)
    }
}

impl PodView<'_> {
    /// The number in an annotation.
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

    /// The value of a label; blank is none.
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

    /// The places that a request of this scope may change.
    pub(super) fn slots(&self, scope: Scope) -> impl Iterator<Item = Slot<'_>> {
        let spec = &self.spec;
        let (main, ephemeral) = match scope {
            Scope::Create => (true, true),
            Scope::Ephemeral => (false, true),
            Scope::Update => (true, false),
        };
        let containers = spec.containers.iter().flatten();
        let init_containers = spec.init_containers.iter().flatten();
        let ephemeral_containers = spec
            .ephemeral_containers
            .iter()
            .flatten();
        let main_slots = main.then(|| {
            containers
                .enumerate()
                .map(|found| container("containers", found))
                .chain(
                    init_containers
                        .enumerate()
                        .map(|found| container("initContainers", found)),
                )
                .chain(
                    spec.volumes
                        .iter()
                        .flatten()
                        .enumerate()
                        .filter_map(volume),
                )
        });
        let ephemeral_slots = ephemeral.then(|| {
            ephemeral_containers
                .enumerate()
                .map(|found| container("ephemeralContainers", found))
        });
        main_slots
            .into_iter()
            .flatten()
            .chain(ephemeral_slots.into_iter().flatten())
    }
}

fn is_read() -> bool {
    true
}

fn container<'p>(list: &'static str, (index, container): (usize, &'p Container<'_>)) -> Slot<'p> {
    Slot {
        list,
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

fn volume<'p>((index, volume): (usize, &'p Volume<'_>)) -> Option<Slot<'p>> {
    let image = volume.image.as_ref()?;
    Some(Slot {
        list: "volumes",
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
