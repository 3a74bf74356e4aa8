//! The image of a component, and the rule that chose it.
//!
//! ```text
//! resource > override > mirror > default
//! ```
//!
//! Pods, status and plans all use the same function, so they cannot disagree.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::images::{Component, ImageReference, ImageSettings, REGISTRY_VARIABLE, ReferenceError};

/// The image that an Agent or Tool names in its `spec.image`; a blank one counts as absent.
///
/// # Errors
///
/// A text that is not a reference. Admission refuses such a spec, so it was stored while admission
/// was not in force.
pub fn own_image(text: Option<&str>) -> Result<Option<ImageReference>, ReferenceError> {
    text.filter(|text| !text.trim().is_empty())
        .map(str::parse)
        .transpose()
}

/// The image of a component, or `None` if there is none: Custom and Tool without an image of their
/// own.
///
/// `own` is the [`own_image`] of the Agent or Tool that the container belongs to.
#[must_use]
pub fn resolve(
    component: Component,
    own: Option<ImageReference>,
    settings: &ImageSettings,
) -> Option<Resolution> {
    candidates(component, own, settings).next()
}

/// The answers of all rules that have one, in order of precedence. The first one counts; each other
/// one would count without those before it.
pub fn candidates(
    component: Component,
    mut own: Option<ImageReference>,
    settings: &ImageSettings,
) -> impl Iterator<Item = Resolution> {
    Source::PRECEDENCE
        .into_iter()
        .filter_map(move |source| {
            let row = component.row();
            let image = match source {
                Source::Resource => own.take()?,
                Source::Override => settings
                    .override_for(component)?
                    .clone(),
                Source::Mirror => settings.mirror()?.rewrite(row?)?,
                Source::Default => row?.default_image()?,
            };
            let variable = match source {
                Source::Override => row.and_then(|row| row.variable),
                Source::Mirror => Some(REGISTRY_VARIABLE),
                Source::Resource | Source::Default => None,
            };
            Some(Resolution {
                component,
                image,
                source,
                variable,
            })
        })
}

/// An image, and the rule that chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// The component that runs the image.
    pub component: Component,
    /// The reference, verbatim if it was written out.
    pub image: ImageReference,
    /// The rule that chose it.
    pub source: Source,
    /// The manager's variable that the rule read, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<&'static str>,
}

/// The rule that chose an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// No other rule applies: the row's own image.
    Default,
    /// `AGENTKUBE_IMAGE_REGISTRY` moved the default image onto a mirror.
    Mirror,
    /// `AGENTKUBE_IMAGE_<ROW>` replaces this one image in the whole cluster.
    Override,
    /// `spec.image` of the Agent or Tool.
    Resource,
}

impl Source {
    /// All rules, in order of precedence.
    pub(crate) const PRECEDENCE: [Self; 4] =
        [Self::Resource, Self::Override, Self::Mirror, Self::Default];

    /// The rule's name in status, annotations and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mirror => "mirror",
            Self::Override => "override",
            Self::Resource => "resource",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl JsonSchema for Source {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::PRECEDENCE.map(Self::as_str) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::images::{MATRIX, Row, rows};

    fn settings(variables: &[(&str, &str)]) -> ImageSettings {
        ImageSettings::of(variables)
    }

    fn everything_set() -> ImageSettings {
        settings(&[
            ("AGENTKUBE_IMAGE_CODEX", "ghcr.io/org/codex:v9"),
            (
                "AGENTKUBE_IMAGE_REGISTRY",
                "registry.example.com/exo-mirror",
            ),
        ])
    }

    fn own(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[test]
    fn each_level_wins_over_the_ones_below() {
        let chosen: Vec<_> = candidates(
            Component::Codex,
            Some(own("codex-of-mine")),
            &everything_set(),
        )
        .map(|it| (it.source, it.image, it.variable))
        .collect();
        let expected = [
            (Source::Resource, "codex-of-mine", None),
            (
                Source::Override,
                "ghcr.io/org/codex:v9",
                Some("AGENTKUBE_IMAGE_CODEX"),
            ),
            (
                Source::Mirror,
                "registry.example.com/exo-mirror/adaptivelive/codex:v0.3.0",
                Some("AGENTKUBE_IMAGE_REGISTRY"),
            ),
            (Source::Default, "docker.io/adaptivelive/codex:v0.3.0", None),
        ];
        assert_eq!(
            chosen,
            expected.map(|(source, image, variable)| (source, image.parse().unwrap(), variable))
        );
    }

    #[test]
    fn the_answer_is_the_first_candidate() {
        let all = everything_set();
        for own in [None, Some(own("mine:v1"))] {
            for component in rows()
                .map(|row| row.component)
                .chain([Component::Tool])
            {
                assert_eq!(
                    resolve(component, own.clone(), &all),
                    candidates(component, own.clone(), &all).next()
                );
            }
        }
    }

    #[test]
    fn a_blank_image_counts_as_absent() {
        for own in [None, Some(""), Some(" \n")] {
            assert_eq!(own_image(own), Ok(None));
        }
        let resolution = resolve(Component::Codex, None, &ImageSettings::default()).unwrap();
        assert_eq!(resolution.source, Source::Default);
    }

    #[test]
    fn an_own_image_is_a_reference_or_an_error() {
        assert_eq!(own_image(Some("mine:v1")), Ok(Some(own("mine:v1"))));
        for text in ["A B", " mine:v1", "https://mine"] {
            assert!(own_image(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn an_override_touches_its_own_row_only() {
        let set = settings(&[("AGENTKUBE_IMAGE_CODEX", "ghcr.io/org/app:v1")]);
        for row in rows().filter(|row| row.component != Component::Codex) {
            let source = resolve(row.component, None, &set).map(|it| it.source);
            assert_eq!(source, row.repository.map(|_| Source::Default));
        }
    }

    #[test]
    fn only_custom_and_tool_can_be_without_an_image() {
        let all = everything_set();
        for component in [Component::Custom, Component::Tool] {
            assert_eq!(resolve(component, None, &all), None);
            let own = resolve(component, Some(own("mine:v1")), &all).unwrap();
            assert_eq!(
                (own.source, own.image.as_str()),
                (Source::Resource, "mine:v1")
            );
        }
    }

    #[test]
    fn with_a_mirror_nothing_comes_from_the_default_registry() {
        let mirrored = settings(&[("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com")]);
        for image in rows().filter_map(|row| resolve(row.component, None, &mirrored)) {
            assert_eq!(image.source, Source::Mirror);
            assert_eq!(image.image.host(), "registry.example.com");
        }
    }

    #[test]
    fn resolutions_are_written_in_camel_case_and_without_blanks() {
        let resolution = resolve(Component::SessionRecorder, None, &everything_set()).unwrap();
        assert_eq!(
            serde_json::to_value(resolution).unwrap(),
            serde_json::json!({
                "component": "SessionRecorder",
                "image": "registry.example.com/exo-mirror/adaptivelive/agentkube-session-recorder:v0.3.0",
                "source": "mirror",
                "variable": "AGENTKUBE_IMAGE_REGISTRY",
            })
        );
        let resolution =
            resolve(Component::Tool, Some(own("t")), &ImageSettings::default()).unwrap();
        assert_eq!(
            serde_json::to_value(resolution).unwrap(),
            serde_json::json!({ "component": "Tool", "image": "t", "source": "resource" })
        );
    }

    #[test]
    fn sources_are_written_as_their_names() {
        for source in Source::PRECEDENCE {
            let json = serde_json::to_value(source).unwrap();
            assert_eq!(json, source.as_str());
            assert_eq!(serde_json::from_value::<Source>(json).unwrap(), source);
        }
        let schema = schemars::schema_for!(Vec<Source>);
        let expected = serde_json::json!({
            "type": "string",
            "enum": ["resource", "override", "mirror", "default"],
        });
        assert_eq!(schema.get("items"), Some(&expected));
    }

    fn any_row() -> impl Strategy<Value = &'static Row> {
        (0..MATRIX.len()).prop_map(|index| &MATRIX[index])
    }

    const PREFIX: &str = "[a-z]{1,5}\\.[a-z]{1,5}(:[0-9]{1,5})?(/[a-z0-9]{1,5}){0,3}";
    const REFERENCE: &str =
        "([a-zA-Z]{1,5}\\.[a-z]{1,5}/)?[a-z0-9]{1,8}(/[a-z]{1,5}){0,2}(:[a-zA-Z0-9]{1,6})?";

    proptest! {
        #[test]
        fn a_rewritten_default_starts_with_the_prefix_and_keeps_its_tag(
            row in any_row(), prefix in PREFIX, layout in "(repository|name)",
        ) {
            let set = settings(&[("AGENTKUBE_IMAGE_REGISTRY", &prefix), ("AGENTKUBE_MIRROR_LAYOUT", &layout)]);
            let Some(resolution) = resolve(row.component, None, &set) else {
                prop_assert_eq!(row.component, Component::Custom);
                return Ok(());
            };
            prop_assert_eq!(resolution.image.tag(), Some(row.tag));
            let beginning = format!("{prefix}/");
            prop_assert!(resolution.image.as_str().starts_with(&beginning));
        }

        #[test]
        fn what_somebody_wrote_is_never_changed(row in any_row(), image in REFERENCE, prefix in PREFIX) {
            let mut variables = vec![("AGENTKUBE_IMAGE_REGISTRY", &*prefix)];
            variables.extend(row.variable.map(|variable| (variable, &*image)));
            let set = settings(&variables);
            if row.variable.is_some() {
                let resolution = resolve(row.component, None, &set).unwrap();
                prop_assert_eq!(resolution.image.as_str(), &image);
            }
            let mine = format!("{image}-of-mine");
            let resolution = resolve(row.component, Some(own(&mine)), &set).unwrap();
            prop_assert_eq!(resolution.image.as_str(), &mine);
        }

        #[test]
        fn resolving_is_total(row in any_row(), own in proptest::option::of(".*")) {
            let named = own.as_deref().is_some_and(|own| !own.trim().is_empty());
            let Ok(own) = own_image(own.as_deref()) else {
                prop_assert!(named);
                return Ok(());
            };
            prop_assert_eq!(own.is_some(), named);
            let answer = resolve(row.component, own, &everything_set());
            prop_assert_eq!(answer.is_some(), named || row.component != Component::Custom);
        }
    }
}
