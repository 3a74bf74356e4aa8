//! The places of a pod where an image can stand.
//!
//! They are enumerated here alone, at the bottom, because everything above needs them: admission reads a
//! pod in a bounded view of its own, the offline review and a scan read it as JSON, and the commands as
//! the types of Kubernetes. A new kind of place is a new row here; the view in `admission/pods` does not
//! compile until it reads that list, too, and the conditions of the registrations are made from these rows.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;

/// What is true of a kind of place.
struct Facts {
    /// The list, as a member of `spec`.
    list: &'static str,
    /// The member of an entry that image and pull policy stand in; `None` where that is the entry itself.
    within: Option<&'static str>,
    image: &'static str,
    pull_policy: &'static str,
    /// Whether the list is changed by way of `pods/ephemeralcontainers` alone.
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
    /// An init container, which a native sidecar is as well.
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

    /// The member of an entry that image and pull policy stand in; `None` where that is the entry itself.
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

    /// Whether the list is changed by way of `pods/ephemeralcontainers` alone.
    pub(crate) const fn is_ephemeral(self) -> bool {
        self.facts().is_ephemeral
    }

    /// Whether it is a container, which has an environment, and not a volume.
    pub(crate) const fn is_container(self) -> bool {
        self.within().is_none()
    }

    /// Path of the image of one entry, as messages show it: `spec.volumes[0].image.reference`.
    pub(crate) fn field(self, index: usize) -> String {
        let (list, image) = (self.list(), self.image());
        match self.within() {
            Some(within) => format!("spec.{list}[{index}].{within}.{image}"),
            None => format!("spec.{list}[{index}].{image}"),
        }
    }
}

/// An image of a pod in JSON, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodSlot<'p> {
    pub(crate) kind: PodSlotKind,
    /// Its index in the list.
    pub(crate) index: usize,
    /// Name of the container or volume.
    pub(crate) name: &'p str,
    pub(crate) image: &'p str,
}

impl PodSlot<'_> {
    /// Path of the image, as messages show it.
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

/// What image and pull policy stand in, for every entry of a pod's spec that has it.
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

    /// A pod with one entry in each list, whose image says which.
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
