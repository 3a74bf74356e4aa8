use super::{DEFAULT_REGISTRY, ImageReference, ImageSettings, Resolution, Source, rows};
use crate::images::REGISTRY_VARIABLE;

/// The replacement of a written-out reference in namespaces where default images follow the
/// settings: the row's override, or the reference on the mirror with its own tag and digest.
///
/// `None` if neither is set for the row, or if the reference is not a default image. A reference
/// that is already in its place is not a default image any more, or stays the same. An override is
/// used verbatim, even if it is the default of another row.
#[must_use]
pub fn rewrite_default(image: &str, settings: &ImageSettings) -> Option<Resolution> {
    if settings.is_override(image) {
        return None;
    }
    let reference = image.parse::<ImageReference>().ok()?;
    let row = rows().find(|row| {
        reference.host() == DEFAULT_REGISTRY && row.repository == Some(reference.path())
    })?;
    let (image, source, variable) = if let Some(image) = settings.override_for(row.component) {
        (image.clone(), Source::Override, row.variable)
    } else {
        let repository = settings
            .mirror()?
            .repository(reference.path());
        // Every row is a valid reference below any prefix.
        let image = reference.moved_to(&repository).ok()?;
        (image, Source::Mirror, Some(REGISTRY_VARIABLE))
    };
    Some(Resolution {
        component: row.component,
        image,
        source,
        variable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn rewritten(image: &str, variables: &[(&str, &str)]) -> Option<String> {
        let settings = ImageSettings::of(variables);
        rewrite_default(image, &settings).map(|resolution| resolution.image.into())
    }

    #[test]
    fn a_default_image_moves_to_the_mirror_with_its_own_tag_and_digest() {
        let mirror = [("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/m")];
        for (image, expected) in [
            (
                "adaptivelive/codex:v0.2.0",
                "registry.example.com/m/adaptivelive/codex:v0.2.0".to_owned(),
            ),
            (
                "docker.io/adaptivelive/codex",
                "registry.example.com/m/adaptivelive/codex".to_owned(),
            ),
            (
                "index.docker.io/adaptivelive/codex:v1",
                "registry.example.com/m/adaptivelive/codex:v1".to_owned(),
            ),
            (
                &format!("adaptivelive/agentkube-agentlet:v1@{DIGEST}"),
                format!("registry.example.com/m/adaptivelive/agentkube-agentlet:v1@{DIGEST}"),
            ),
        ] {
            let first = rewritten(image, &mirror).unwrap();
            assert_eq!(first, expected);
            assert_eq!(
                rewritten(&first, &mirror),
                None,
                "a second pass leaves it alone"
            );
        }
    }

    #[test]
    fn an_override_replaces_the_whole_reference() {
        let settings = [
            ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/m"),
            ("AGENTKUBE_IMAGE_CODEX", "docker.io/adaptivelive/codex:v9"),
        ];
        let first = rewritten("adaptivelive/codex:v1", &settings).unwrap();
        assert_eq!(first, "docker.io/adaptivelive/codex:v9");
        assert_eq!(rewritten(&first, &settings), None);
    }

    #[test]
    fn an_override_that_is_another_rows_default_is_not_rewritten_again() {
        let settings = [
            ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/m"),
            ("AGENTKUBE_IMAGE_CODEX", "adaptivelive/aider:v9"),
            ("AGENTKUBE_IMAGE_CLINE", "adaptivelive/goose:v1"),
            ("AGENTKUBE_IMAGE_GOOSE", "adaptivelive/cline:v1"),
        ];
        for image in ["codex:v1", "cline:v1", "cline:v2", "goose:v2"] {
            let image = format!("adaptivelive/{image}");
            let once = rewritten(&image, &settings).unwrap_or(image);
            assert_eq!(rewritten(&once, &settings), None, "{once}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let mirror = [("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/m")];
        for image in [
            "adaptivelive/other:v1",
            "codex:v1",
            "quay.io/adaptivelive/codex:v1",
            "nginx",
            "A B",
            "",
        ] {
            assert_eq!(rewritten(image, &mirror), None, "{image}");
        }
        assert_eq!(
            rewritten("adaptivelive/codex:v1", &[]),
            None,
            "no lever is set"
        );
    }
}
