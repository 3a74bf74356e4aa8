use futures::{StreamExt, stream};

use super::progress::Progress;
use crate::{
    cli::images::{
        Configuration,
        named::{NamedImage, OwnImage},
    },
    images::{Component, resolve, rows},
    registry::{AskError, Client, Image},
};

/// Concurrent questions: enough to hide latency, few enough for registries with rate limits.
const AT_ONCE: usize = 8;

/// An image to look up, and its purpose.
pub(super) struct ImageToAsk {
    pub(super) image: NamedImage,
    pub(super) components: Vec<Component>,
}

impl ImageToAsk {
    pub(super) fn new(image: NamedImage, component: Component) -> Self {
        Self {
            image,
            components: vec![component],
        }
    }

    async fn ask(&self, client: &Client) -> Result<Image, AskError> {
        match &self.image {
            NamedImage::Valid(reference) => client.image(reference).await,
            NamedImage::Invalid { error, .. } => Err(AskError::Answer(format!(
                "no registry can be queried: {error}"
            ))),
        }
    }
}

/// Every image of the configuration, without duplicates.
pub(super) fn wanted(configuration: Configuration) -> Vec<ImageToAsk> {
    let Configuration {
        images,
        own,
        cluster: _,
    } = configuration;
    let configured = rows()
        .filter_map(|row| resolve(row.component, None, &images))
        .map(|resolution| OwnImage {
            component: resolution.component,
            image: NamedImage::Valid(resolution.image),
        });
    let mut wanted: Vec<ImageToAsk> = Vec::new();
    for OwnImage { component, image } in configured.chain(own) {
        match wanted
            .iter_mut()
            .find(|it| it.image == image)
        {
            Some(known) if known.components.contains(&component) => {}
            Some(known) => known.components.push(component),
            None => wanted.push(ImageToAsk::new(image, component)),
        }
    }
    wanted
}

/// Looks all of them up, and returns the answers in the same order.
pub(super) async fn ask(client: &Client, wanted: &[ImageToAsk]) -> Vec<Result<Image, AskError>> {
    let mut progress = Progress::new(wanted.len());
    // Answers are taken as they come, so a slow registry delays neither the others nor the progress bar.
    let mut answers = stream::iter(wanted.iter().enumerate())
        .map(async |(position, it)| (position, it.ask(client).await))
        .buffer_unordered(AT_ONCE);
    let mut answered = Vec::with_capacity(wanted.len());
    while let Some(answer) = answers.next().await {
        answered.push(answer);
        progress.answered();
    }
    answered.sort_by_key(|(position, _)| *position);
    answered
        .into_iter()
        .map(|(_, answer)| answer)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        images::{ImageSettings, Row, rows},
        registry::ClientOptions,
    };

    fn own(component: Component, image: &str) -> OwnImage {
        OwnImage {
            component,
            image: image.to_owned().into(),
        }
    }

    #[test]
    fn an_image_is_asked_for_once_whoever_names_it() {
        let codex = "docker.io/adaptivelive/codex:v0.3.0";
        let wanted = wanted(Configuration {
            images: ImageSettings::default(),
            own: vec![
                own(Component::Custom, codex),
                own(Component::Custom, codex),
                own(Component::Tool, "ghcr.io/acme/browser:v1"),
            ],
            cluster: None,
        });
        let defaults = rows().filter_map(Row::default_image);
        assert_eq!(wanted.len(), defaults.count() + 1);
        let components = |image: &str| {
            wanted
                .iter()
                .find(|it| it.image.as_str() == image)
                .map(|it| it.components.clone())
        };
        let both = vec![Component::Codex, Component::Custom];
        assert_eq!(components(codex), Some(both));
        let tool = vec![Component::Tool];
        assert_eq!(components("ghcr.io/acme/browser:v1"), Some(tool));
    }

    #[tokio::test]
    async fn what_is_no_reference_is_said_and_stops_nothing() {
        let client = Client::new(ClientOptions::default()).unwrap();
        let wanted = ImageToAsk::new(
            "https://ghcr.io/acme/agent"
                .to_owned()
                .into(),
            Component::Custom,
        );
        let answers = ask(&client, &[wanted]).await;
        let [Err(error)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(error.as_str(), "invalid");
        assert!(
            error
                .to_string()
                .starts_with("no registry can be queried: "),
            "{error}"
        );
    }
}
