use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A small image, with layers that are not compressed, which tools like to change: for each platform a layer that all images of that platform share, and one of its
/// own.
pub(crate) struct TestImage {
    /// By digest.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Media type, digest and text; the index is the last.
    pub(crate) manifests: Vec<(&'static str, String, Vec<u8>)>,
    /// Digest and size of what a node of each platform has to hold.
    held: BTreeMap<String, BTreeMap<String, usize>>,
}

impl TestImage {
    pub(crate) fn new(name: &str, platforms: &[&str]) -> Self {
        let mut image = Self {
            blobs: BTreeMap::new(),
            manifests: Vec::new(),
            held: BTreeMap::new(),
        };
        let mut children = Vec::new();
        for platform in platforms {
            let (os, architecture) = platform
                .split_once('/')
                .expect("OS/ARCH");
            let mut held = BTreeMap::new();
            let mut add = |media_type: &str, content: Vec<u8>| {
                let (digest, size) = (sha256(&content), content.len());
                held.insert(digest.clone(), size);
                image
                    .blobs
                    .insert(digest.clone(), content);
                json!({ "mediaType": media_type, "digest": digest, "size": size })
            };
            let layers = [
                format!("base of {platform}").repeat(500),
                format!("{name} on {platform}"),
            ]
            .map(|content| add(LAYER, content.into_bytes()));
            let diff_ids: Vec<_> = layers
                .iter()
                .map(|layer| &layer["digest"])
                .collect();
            let config = json!({
                "os": os,
                "architecture": architecture,
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            });
            let config = add(CONFIG, config.to_string().into_bytes());
            image
                .held
                .insert((*platform).to_owned(), held);
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
            });
            let (digest, size) = image.add_manifest(MANIFEST, &manifest);
            children.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": size,
                "platform": { "os": os, "architecture": architecture },
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        image.add_manifest(INDEX, &index);
        image
    }

    /// The digest of the index.
    pub(crate) fn digest(&self) -> &str {
        let (_, digest, _) = self.manifests.last().expect("an index");
        digest
    }

    fn add_manifest(
        &mut self,
        media_type: &'static str,
        manifest: &serde_json::Value,
    ) -> (String, usize) {
        let text = manifest.to_string().into_bytes();
        let (digest, size) = (sha256(&text), text.len());
        self.manifests
            .push((media_type, digest.clone(), text));
        (digest, size)
    }
}

/// What a node of a platform has to hold for all images, shared layers counted once.
pub(crate) fn bytes_once<'a>(images: impl Iterator<Item = &'a TestImage>, platform: &str) -> usize {
    let held: BTreeMap<_, _> = images
        .filter_map(|image| image.held.get(platform))
        .flatten()
        .collect();
    held.values().copied().sum()
}

fn sha256(content: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest(&SHA256, content).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
