use anyhow::Context;
use futures::{StreamExt, stream};

use super::progress::Progress;
use crate::{
    cli::images::Subject,
    images::{Component, ImageReference, resolve, rows},
    registry::{AskError, Client, Image},
};

/// How many images are asked for at once: enough to hide the way there, few enough for a registry
/// that counts its callers.
const AT_ONCE: usize = 8;

/// An image to ask for, and what it is for.
pub(super) struct Wanted {
    pub(super) reference: ImageReference,
    pub(super) components: Vec<Component>,
}

/// Every image of the configuration, each once.
pub(super) fn wanted(subject: &Subject) -> anyhow::Result<Vec<Wanted>> {
    let policy = subject.settings.policy()?;
    let configured = rows().filter_map(|row| resolve(row.component, None, &policy.images));
    let mut wanted: Vec<Wanted> = Vec::new();
    for resolution in configured.chain(subject.customs()) {
        let reference: ImageReference = resolution
            .image
            .parse()
            .with_context(|| resolution.image.clone())?;
        match wanted
            .iter_mut()
            .find(|it| it.reference == reference)
        {
            Some(known) => known
                .components
                .push(resolution.component),
            None => wanted.push(Wanted {
                reference,
                components: vec![resolution.component],
            }),
        }
    }
    for it in &mut wanted {
        it.components.dedup();
    }
    Ok(wanted)
}

/// Asks for all of them, and answers in their order.
pub(super) async fn ask(client: &Client, wanted: &[Wanted]) -> Vec<Result<Image, AskError>> {
    let mut progress = Progress::new(wanted.len());
    // In the order in which answers come, so that one slow registry holds up neither the others
    // nor the bar.
    let mut answers = stream::iter(wanted.iter().enumerate())
        .map(async |(position, it)| (position, client.image(&it.reference).await))
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
