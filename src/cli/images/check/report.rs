use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use super::ask::ImageToAsk;
use crate::{
    cli::images::named::NamedImage,
    images::Component,
    registry::{AskError, Image, PlatformImage},
};

/// The answers of the registries.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) images: Vec<Checked>,
    pub(super) nodes: Vec<Node>,
}

/// The result for one image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) components: Vec<Component>,
    pub(super) image: NamedImage,
    pub(super) status: ImageStatus,
    pub(super) digest: Option<String>,
    pub(super) platforms: Vec<Size>,
    /// Missing platforms, of those that were requested or that the image's own index lists.
    pub(super) missing_platforms: Vec<String>,
    pub(super) message: Option<String>,
    #[serde(skip)]
    pub(super) held: Vec<PlatformImage>,
}

/// The status of an image on its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub(super) enum ImageStatus {
    Missing,
    MissingPlatform,
    Present,
    /// The registry could not be queried. The reason is that of [`AskError::as_str`]: `denied`,
    /// `helper`, `tls`, `unreachable` or `invalid`.
    Unknown(&'static str),
}

impl ImageStatus {
    /// The name in tables and in JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::MissingPlatform => "missingPlatform",
            Self::Present => "present",
            Self::Unknown(why) => why,
        }
    }
}

impl From<ImageStatus> for &'static str {
    fn from(status: ImageStatus) -> Self {
        status.as_str()
    }
}

impl From<&AskError> for ImageStatus {
    fn from(error: &AskError) -> Self {
        match error {
            AskError::Missing => Self::Missing,
            error => Self::Unknown(error.as_str()),
        }
    }
}

/// The size of an image for one platform.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    pub(super) platform: String,
    /// Compressed bytes, as on the registry.
    pub(super) bytes: u64,
}

/// A node of one platform that runs every image available for it.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) platform: String,
    pub(super) images: usize,
    /// Compressed bytes; layers shared by several images count once.
    pub(super) bytes: u64,
}

impl Report {
    pub(super) fn new(
        wanted: Vec<ImageToAsk>,
        answers: Vec<Result<Image, AskError>>,
        platforms: &[String],
    ) -> Self {
        let images: Vec<_> = wanted
            .into_iter()
            .zip(answers)
            .map(|(wanted, answer)| Checked::new(wanted, answer, platforms))
            .collect();
        let nodes = nodes(&images, platforms);
        Self { images, nodes }
    }

    /// The exit status. A registry that did not answer outranks a missing image.
    pub(super) fn status(&self) -> ExitCode {
        let codes = self
            .images
            .iter()
            .map(|image| match image.status {
                ImageStatus::Present => 0,
                ImageStatus::Missing | ImageStatus::MissingPlatform => 1,
                ImageStatus::Unknown(_) => 2,
            });
        ExitCode::from(codes.max().unwrap_or(0))
    }
}

impl Checked {
    fn new(wanted: ImageToAsk, answer: Result<Image, AskError>, platforms: &[String]) -> Self {
        let ImageToAsk { image, components } = wanted;
        let mut checked = Self {
            components,
            image,
            status: ImageStatus::Present,
            digest: None,
            platforms: Vec::new(),
            missing_platforms: Vec::new(),
            message: None,
            held: Vec::new(),
        };
        match answer {
            Ok(image) => checked.fill(image, platforms),
            Err(error) => {
                checked.status = (&error).into();
                checked.message = Some(match error.hint() {
                    Some(hint) => format!("{error} (hint: {hint})"),
                    None => error.to_string(),
                });
            }
        }
        checked
    }

    fn fill(&mut self, image: Image, platforms: &[String]) {
        let Image {
            digest,
            platforms: held,
            hollow,
        } = image;
        self.digest = Some(digest);
        self.platforms = held
            .iter()
            .map(|it| Size {
                platform: it.platform.clone(),
                bytes: it.bytes(),
            })
            .collect();
        self.missing_platforms = if platforms.is_empty() {
            hollow
        } else {
            let lacks = |wanted: &&String| {
                !held
                    .iter()
                    .any(|it| serves(&it.platform, wanted))
            };
            platforms
                .iter()
                .filter(lacks)
                .cloned()
                .collect()
        };
        self.held = held;
        if !self.missing_platforms.is_empty() {
            self.status = ImageStatus::MissingPlatform;
            self.message = Some(format!(
                "not there for {}",
                self.missing_platforms.join(", ")
            ));
        }
    }
}

/// The requested platforms, or else those that any image supports.
fn nodes(images: &[Checked], platforms: &[String]) -> Vec<Node> {
    let mut names = platforms.to_vec();
    if names.is_empty() {
        let held = images
            .iter()
            .flat_map(|image| &image.held);
        names.extend(held.map(|it| it.platform.clone()));
    }
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|platform| {
            let held: Vec<_> = images
                .iter()
                .filter_map(|image| {
                    image
                        .held
                        .iter()
                        .find(|it| serves(&it.platform, &platform))
                })
                .collect();
            let blobs: BTreeMap<_, _> = held
                .iter()
                .flat_map(|it| &it.blobs)
                .map(|blob| (&blob.digest, blob.size))
                .collect();
            Node {
                platform,
                images: held.len(),
                bytes: blobs
                    .values()
                    .fold(0, |sum: u64, size| sum.saturating_add(*size)),
            }
        })
        .collect()
}

/// True if an image for `held` runs on `wanted`: `linux/arm64` accepts any variant.
fn serves(held: &str, wanted: &str) -> bool {
    held.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Blob;

    #[test]
    fn a_platform_is_served_by_its_variants() {
        assert!(serves("linux/arm64/v8", "linux/arm64"));
        assert!(serves("linux/arm64", "linux/arm64"));
        assert!(!serves("linux/arm64", "linux/arm"));
        assert!(!serves("linux/arm/v6", "linux/arm/v7"));
    }

    fn image(own_layer: &str) -> Image {
        let blobs = [("sha256:base", 1000), (own_layer, 10)].map(|(digest, size)| Blob {
            digest: digest.to_owned(),
            size,
        });
        Image {
            digest: "sha256:0123456789abcdef".to_owned(),
            platforms: vec![PlatformImage {
                platform: "linux/amd64".to_owned(),
                blobs: blobs.into(),
            }],
            hollow: Vec::new(),
        }
    }

    fn report(answers: Vec<Result<Image, AskError>>, platforms: &[String]) -> Report {
        let wanted = (0..answers.len())
            .map(|number| {
                let image = format!("example.com/app{number}:v1");
                ImageToAsk::new(image.into(), Component::Custom)
            })
            .collect();
        Report::new(wanted, answers, platforms)
    }

    #[test]
    fn layers_that_images_share_count_once() {
        let report = report(vec![Ok(image("sha256:a")), Ok(image("sha256:b"))], &[]);
        assert_eq!(report.nodes[0].bytes, 1020);
        assert_eq!(report.nodes[0].images, 2);
        assert_eq!(report.images[0].platforms[0].bytes, 1010);
        assert_eq!(report.status(), ExitCode::SUCCESS);
    }

    #[test]
    fn a_registry_that_could_not_be_asked_counts_more_than_a_missing_image() {
        let missing = || Err(AskError::Missing);
        let down = || Err(AskError::Unreachable("down".to_owned()));
        let status = |answers| report(answers, &[]).status();
        assert_eq!(status(vec![Ok(image("a")), missing()]), ExitCode::FAILURE);
        assert_eq!(status(vec![missing(), down()]), ExitCode::from(2));
    }

    #[test]
    fn a_missing_platform_is_named() {
        let platforms = ["linux/amd64".to_owned(), "linux/arm64".to_owned()];
        let report = report(vec![Ok(image("a"))], &platforms);
        assert_eq!(report.images[0].status, ImageStatus::MissingPlatform);
        assert_eq!(report.images[0].missing_platforms, ["linux/arm64"]);
        assert_eq!(report.status(), ExitCode::FAILURE);
        assert_eq!(report.nodes[1].images, 0);
    }
}
