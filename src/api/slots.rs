//! The places of a pod that can hold an image.
//!
//! This is the only list of them, at the lowest layer, because all others need it: admission reads
//! a pod in its own bounded view, the offline review and a scan read it as JSON, and the commands
//! as the types of Kubernetes. A new kind of place is a new row here. The view in `admission/pods`
//! does not compile until it reads that list, too, and the conditions of the registrations are made
//! from these rows.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;

/// The properties of a kind of place.
struct Facts {
    /// The list, as a member of `spec`.
    list: &'static str,
    /// The member of an entry with image and pull policy; `None` if they are in the entry itself.
    within: Option<&'static str>,
    image: &'static str,
    pull_policy: &'static str,
    /// True if the list can only be changed through `pods/ephemeralcontainers`.
    is_ephemeral: bool,
    /// The images of a pod in the types of Kubernetes.
    typed: fn(&PodSpec) -> Vec<&str>,
}

macro_rules! pod_slots {
    ($($(#[$doc:meta])+ $kind:ident = $facts:expr),+ $(,)?) => {
        /// A kind of place that holds an image.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum PodSlotKind {
            $($(#[$doc])+ $kind),+
        }

        impl PodSlotKind {
            /// Every kind, in the order in which a pod is read.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind),+];

            const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$kind => &$facts),+
                }
            }
        }
    };
}

pod_slots! {
    /// A container.
    Container = Facts {
        list: "containers",
        within: None,
        image: "image",
        pull_policy: "imagePullPolicy",
        is_ephemeral: false,
        typed: |spec| some(spec.containers.iter().map(|container| &container.image)),
    },
    /// An init container, or a native sidecar.
    InitContainer = Facts {
        list: "initContainers",
        within: None,
        image: "image",
        pull_policy: "imagePullPolicy",
        is_ephemeral: false,
        typed: |spec| some(spec.init_containers.iter().flatten().map(|container| &container.image)),
    },
    /// A volume whose content is an image.
    Volume = Facts {
        list: "volumes",
        within: Some("image"),
        image: "reference",
        pull_policy: "pullPolicy",
        is_ephemeral: false,
        typed: |spec| {
            let volumes = spec.volumes.iter().flatten();
            some(volumes.filter_map(|volume| Some(&volume.image.as_ref()?.reference)))
        },
    },
    /// A container that was added to a running pod (`kubectl debug`).
    EphemeralContainer = Facts {
        list: "ephemeralContainers",
        within: None,
        image: "image",
        pull_policy: "imagePullPolicy",
        is_ephemeral: true,
        typed: |spec| some(spec.ephemeral_containers.iter().flatten().map(|container| &container.image)),
    },
}

impl PodSlotKind {
    /// The list, as a member of `spec`.
    pub(crate) const fn list(self) -> &'static str {
        self.facts().list
    }

    /// The member of an entry with image and pull policy; `None` if they are in the entry itself.
    pub(crate) const fn within(self) -> Option<&'static str> {
        self.facts().within
    }

    /// The name of the image.
    pub(crate) const fn image(self) -> &'static str {
        self.facts().image
    }

    /// The name of the pull policy.
    pub(crate) const fn pull_policy(self) -> &'static str {
        self.facts().pull_policy
    }

    /// True if the list can only be changed through `pods/ephemeralcontainers`.
    pub(crate) const fn is_ephemeral(self) -> bool {
        self.facts().is_ephemeral
    }

    /// True for a container, which has an environment; false for a volume.
    pub(crate) const fn is_container(self) -> bool {
        self.within().is_none()
    }

    /// The path of the image of one entry, for messages: `spec.volumes[0].image.reference`.
    pub(crate) fn field(self, index: usize) -> String {
        let (list, image) = (self.list(), self.image());
        match self.within() {
            Some(within) => format!("spec.{list}[{index}].{within}.{image}"),
            None => format!("spec.{list}[{index}].{image}"),
        }
    }
}

/// An image of a pod in JSON, with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodSlot<'p> {
    pub(crate) kind: PodSlotKind,
    /// The index in the list.
    pub(crate) index: usize,
    /// The name of the container or volume.
    pub(crate) name: &'p str,
    pub(crate) image: &'p str,
}

impl PodSlot<'_> {
    /// The path of the image, for messages.
    pub(crate) fn field(&self) -> String {
        self.kind.field(self.index)
    }
}

/// Every image of a pod in JSON.
pub(crate) fn pod_slots(pod: &Value) -> impl Iterator<Item = PodSlot<'_>> {
    let spec = pod.get("spec");
    PodSlotKind::ALL
        .iter()
        .flat_map(move |&kind| {
            let entries = spec.and_then(|spec| spec.get(kind.list())?.as_array());
            entries
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(move |(index, entry)| slot(kind, index, entry))
        })
}

/// The object with image and pull policy, for every entry of a pod's spec that has one.
pub(crate) fn image_holders(spec: &mut Value) -> impl Iterator<Item = (PodSlotKind, &mut Value)> {
    spec.as_object_mut()
        .into_iter()
        .flat_map(|members| members.iter_mut())
        .filter_map(|(name, list)| {
            let kind = PodSlotKind::ALL
                .iter()
                .find(|kind| kind.list() == name)?;
            Some((*kind, list.as_array_mut()?))
        })
        .flat_map(|(kind, entries)| {
            entries
                .iter_mut()
                .filter_map(move |entry| {
                    let holder = match kind.within() {
                        Some(within) => entry.get_mut(within)?,
                        None => entry,
                    };
                    Some((kind, holder))
                })
        })
}

/// Every image of a pod in the types of Kubernetes.
pub(crate) fn pod_images(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.spec.iter().flat_map(|spec| {
        PodSlotKind::ALL
            .iter()
            .flat_map(|kind| (kind.facts().typed)(spec))
    })
}

fn slot(kind: PodSlotKind, index: usize, entry: &Value) -> Option<PodSlot<'_>> {
    let holder = match kind.within() {
        Some(within) => entry.get(within)?,
        None => entry,
    };
    Some(PodSlot {
        kind,
        index,
        name: entry
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        image: holder.get(kind.image())?.as_str()?,
    })
}

fn some<'s>(images: impl Iterator<Item = &'s Option<String>>) -> Vec<&'s str> {
    images
        .filter_map(|image| image.as_deref())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod with one entry in each list. The images name the lists.
    fn pod() -> Value {
        let mut spec = json!({});
        for kind in PodSlotKind::ALL {
            let holder = json!({ kind.image(): kind.list() });
            let mut entry = match kind.within() {
                Some(within) => json!({ within: holder }),
                None => holder,
            };
            entry["name"] = json!("n");
            spec[kind.list()] = json!([{"name": "without"}, entry]);
        }
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn json_and_types_hold_the_same_images() {
        let pod = pod();
        let found: Vec<_> = pod_slots(&pod)
            .map(|slot| (slot.image, slot.name, slot.field()))
            .collect();
        let expected: Vec<_> = [
            ("containers", "image"),
            ("initContainers", "image"),
            ("volumes", "image.reference"),
            ("ephemeralContainers", "image"),
        ]
        .map(|(list, image)| (list, "n", format!("spec.{list}[1].{image}")))
        .into();
        assert_eq!(found, expected);
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        let images: Vec<_> = pod_images(&typed).collect();
        assert_eq!(
            images,
            expected
                .iter()
                .map(|(list, ..)| *list)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_holder_is_the_entry_or_a_member_of_it() {
        let mut pod = pod();
        let mut found = 0;
        for (kind, holder) in image_holders(&mut pod["spec"]) {
            holder[kind.pull_policy()] = json!("Never");
            found += 1;
        }
        // A volume without an image has no holder.
        assert_eq!(found, 7);
        assert_eq!(pod["spec"]["volumes"][0], json!({"name": "without"}));
        assert_eq!(pod["spec"]["volumes"][1]["image"]["pullPolicy"], "Never");
        assert_eq!(pod["spec"]["initContainers"][0]["imagePullPolicy"], "Never");
        assert_eq!(image_holders(&mut json!([])).count(), 0);
    }
}
