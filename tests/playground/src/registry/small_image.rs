//! Images that are made on the spot.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A small image: for each platform a layer that all images of that platform share, and one of its
/// own. Layers are not compressed, since tools like to change those that are.
#[derive(Debug)]
pub struct SmallImage {
    /// By digest.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// What the index lists: digest and text.
    pub(crate) manifests: Vec<(String, Vec<u8>)>,
    pub(crate) index: Vec<u8>,
    /// Digest and size of what a node of each platform has to hold.
    held: BTreeMap<String, BTreeMap<String, usize>>,
}

impl SmallImage {
    /// The media type of [`manifests`](Self::manifests).
    pub(crate) const MANIFEST: &str = MANIFEST;
    /// The media type of the [`index`](Self::index).
    pub(crate) const INDEX: &str = INDEX;

    /// An image for these platforms, such as `linux/amd64`, that differs from those of other names.
    #[must_use]
    pub fn new(name: &str, platforms: &[&str]) -> Self {
        let mut image = Self {
            blobs: BTreeMap::new(),
            manifests: Vec::new(),
            index: Vec::new(),
            held: BTreeMap::new(),
        };
        let children: Vec<_> = platforms
            .iter()
            .map(|platform| image.add_platform(name, platform))
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        image.index = index.to_string().into_bytes();
        image
    }

    /// The digest of the index.
    #[must_use]
    pub fn digest(&self) -> String {
        sha256(&self.index)
    }

    /// What a node of a platform has to hold for all images, in bytes, shared layers counted once.
    pub fn bytes_once<'a>(images: impl Iterator<Item = &'a Self>, platform: &str) -> usize {
        let held: BTreeMap<_, _> = images
            .filter_map(|image| image.held.get(platform))
            .flatten()
            .collect();
        held.values().copied().sum()
    }

    /// Adds the image for one platform, and returns its entry in the index.
    fn add_platform(&mut self, name: &str, platform: &str) -> Value {
        let (os, architecture) = platform
            .split_once('/')
            .unwrap_or((platform, ""));
        let mut held = BTreeMap::new();
        let mut add = |media_type: &str, content: String| {
            let (digest, size) = (sha256(content.as_bytes()), content.len());
            held.insert(digest.clone(), size);
            self.blobs
                .insert(digest.clone(), content.into_bytes());
            json!({ "mediaType": media_type, "digest": digest, "size": size })
        };
        let layers = [
            format!("base of {platform}").repeat(500),
            format!("{name} on {platform}"),
        ]
        .map(|content| add(LAYER, content));
        let diff_ids = layers
            .each_ref()
            .map(|layer| layer.get("digest"));
        let config = json!({
            "os": os,
            "architecture": architecture,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = add(CONFIG, config.to_string());
        self.held
            .insert(platform.to_owned(), held);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let text = manifest.to_string().into_bytes();
        let (digest, size) = (sha256(&text), text.len());
        self.manifests
            .push((digest.clone(), text));
        json!({
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": { "os": os, "architecture": architecture },
        })
    }
}

fn sha256(content: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest(&SHA256, content).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
