use serde_json::Value;

/// One place of a pod that holds an image.
#[derive(Clone, Debug)]
pub(super) struct Slot<'v> {
    /// Name of the container or the volume.
    pub(super) name: &'v str,
    /// Path of the image, as messages show it.
    pub(super) field: String,
    pub(super) image: &'v str,
}

/// Every image of a pod: of its containers, init containers, ephemeral containers and image volumes.
pub(super) fn slots(pod: &Value) -> Vec<Slot<'_>> {
    [
        ("containers", "/image", "image"),
        ("initContainers", "/image", "image"),
        ("ephemeralContainers", "/image", "image"),
        ("volumes", "/image/reference", "image.reference"),
    ]
    .into_iter()
    .flat_map(|(list, pointer, member)| {
        let items = pod
            .pointer("/spec")
            .and_then(|spec| spec.get(list)?.as_array());
        items
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(move |(index, item)| {
                Some(Slot {
                    name: item
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                    field: format!("spec.{list}[{index}].{member}"),
                    image: item.pointer(pointer)?.as_str()?,
                })
            })
    })
    .collect()
}
