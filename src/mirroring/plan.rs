use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use crate::images::{
    Component, DEFAULT_REGISTRY, ImageReference, ImageSettings, Mirror, MirrorPrefix, Resolution,
    Source, resolve, rows,
};

/// The images that a mirror must hold, and their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The mirror that is filled.
    pub mirror: Mirror,
    /// The copies, in the order of the matrix; custom images come last.
    pub transfers: Vec<Transfer>,
    /// The components with an override, which pods do not pull from the mirror.
    pub overridden: Vec<Resolution>,
    /// The custom images that are on the mirror already.
    pub present: Vec<ImageReference>,
}

impl Plan {
    /// Plans the copy of every image that `settings` let a mirror serve, and of `custom` images.
    ///
    /// Nothing rewrites a custom image: Agents and Tools have to name its copy themselves. An image
    /// under the mirror's prefix is such a copy.
    ///
    /// # Errors
    ///
    /// `settings` without a mirror, or images that cannot be on the mirror together.
    pub fn new(
        settings: &ImageSettings,
        custom: &[ImageReference],
        origin: &Origin,
    ) -> Result<Self, PlanError> {
        let mirror = settings
            .mirror()
            .ok_or(PlanError::NoMirror)?;
        let mut plan = Self {
            mirror: mirror.clone(),
            transfers: Vec::new(),
            overridden: Vec::new(),
            present: Vec::new(),
        };
        let mut taken = BTreeMap::new();
        for row in rows() {
            let (Some(repository), Some(chosen)) =
                (row.repository, resolve(row.component, None, settings))
            else {
                continue;
            };
            if chosen.source == Source::Mirror {
                let from = read(format!("{}/{repository}:{}", origin.registry(), row.tag))?;
                plan.add(row.component, from, chosen.image, &mut taken)?;
            } else {
                plan.overridden.push(chosen);
            }
        }
        for image in custom {
            if mirror.prefix.covers(image) {
                if !plan.present.contains(image) {
                    plan.present.push(image.clone());
                }
                continue;
            }
            let version = version(image);
            let from = if image.host() == DEFAULT_REGISTRY {
                format!("{}/{}{version}", origin.registry(), image.path())
            } else {
                format!("{}{version}", image.repository())
            };
            let to = format!("{}{version}", mirror.repository(image.path()));
            plan.add(Component::Custom, read(from)?, read(to)?, &mut taken)?;
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        component: Component,
        from: ImageReference,
        to: ImageReference,
        taken: &mut BTreeMap<String, ImageReference>,
    ) -> Result<(), PlanError> {
        if from.host().is_empty() {
            return Err(PlanError::NoRegistry(from.to_string()));
        }
        if from.normalized() == to.normalized() {
            return Err(PlanError::OntoItself(from.to_string()));
        }
        match taken.insert(to.normalized(), from.clone()) {
            Some(other) if other == from => return Ok(()),
            Some(other) => {
                return Err(PlanError::Collision(
                    [other, from, to].map(|it| it.to_string()),
                ));
            }
            None => {}
        }
        self.transfers.push(Transfer {
            component,
            from,
            to,
        });
        Ok(())
    }
}

/// One image to copy, with all of its platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The component that the image is for.
    pub component: Component,
    /// The full source: with its registry, and with a tag or a digest.
    pub from: ImageReference,
    /// The destination, from which pods pull it.
    pub to: ImageReference,
}

/// The source of Docker Hub's images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(Option<MirrorPrefix>);

impl Origin {
    /// A registry that carries the repositories of Docker Hub under their own paths.
    #[must_use]
    pub(crate) fn registry_of(prefix: MirrorPrefix) -> Self {
        Self(Some(prefix))
    }

    fn registry(&self) -> &str {
        self.0
            .as_ref()
            .map_or(DEFAULT_REGISTRY, MirrorPrefix::as_str)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.registry())
    }
}

/// The reason why there is no plan. The request is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Two images would have the same destination: the images and the destination.
    #[error(
        "`{}` and `{}` would both become `{}` (hint: plan for a mirror with the layout `repository`)",
        .0[0], .0[1], .0[2]
    )]
    Collision([String; 3]),
    /// The settings name no mirror.
    #[error("there is no mirror to plan for")]
    NoMirror,
    /// This reference has no host.
    #[error("`{0}` names no registry to copy it from")]
    NoRegistry(String),
    /// The source is on the mirror already.
    #[error("`{0}` would be copied onto itself")]
    OntoItself(String),
    /// The copy would have a name that runtimes refuse, such as one that is too long.
    #[error("`{0}` would not be a valid reference (hint: shorten the mirror's path)")]
    Unwritable(String),
}

fn read(text: String) -> Result<ImageReference, PlanError> {
    text.parse()
        .map_err(|_| PlanError::Unwritable(text))
}

/// Tag and digest, as they are written after a repository. A reference with neither becomes `latest`,
/// since tools differ on it: skopeo would copy every tag.
fn version(image: &ImageReference) -> String {
    match (image.tag(), image.digest()) {
        (None, None) => ":latest".to_owned(),
        (tag, digest) => {
            let tag = tag.map(|tag| format!(":{tag}"));
            let digest = digest.map(|digest| format!("@{digest}"));
            tag.unwrap_or_default() + &digest.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ImageSettings {
        ImageSettings::of(variables)
    }

    fn plan(variables: &[(&str, &str)], custom: &[&str]) -> Result<Plan, String> {
        let custom: Vec<_> = custom
            .iter()
            .map(|image| image.parse().unwrap())
            .collect();
        Plan::new(&settings(variables), &custom, &Origin::default())
            .map_err(|error| error.to_string())
    }

    /// The number of images that are copied by default.
    fn defaults() -> usize {
        rows()
            .filter(|row| row.repository.is_some())
            .count()
    }

    const MIRROR: (&str, &str) = ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/exo");
    const BY_NAME: (&str, &str) = ("AGENTKUBE_MIRROR_LAYOUT", "name");

    #[test]
    fn every_default_is_copied_to_where_pods_look() {
        for variables in [&[MIRROR][..], &[MIRROR, BY_NAME]] {
            let plan = plan(variables, &[]).unwrap();
            assert_eq!(plan.transfers.len(), defaults());
            for Transfer {
                component,
                from,
                to,
            } in plan.transfers
            {
                let looked_for = resolve(component, None, &settings(variables)).unwrap();
                assert_eq!(to, looked_for.image);
                let default = component.row().unwrap().default_image();
                assert_eq!(Some(from), default);
            }
        }
    }

    #[test]
    fn an_overridden_image_is_not_copied() {
        let plan = plan(
            &[MIRROR, ("AGENTKUBE_IMAGE_CODEX", "ghcr.io/a/codex:v9")],
            &[],
        )
        .unwrap();
        assert_eq!(plan.transfers.len(), defaults() - 1);
        let [overridden] = &plan.overridden[..] else {
            panic!("{:?}", plan.overridden);
        };
        assert_eq!(overridden.image.as_str(), "ghcr.io/a/codex:v9");
    }

    #[test]
    fn a_custom_image_keeps_its_path_and_gets_a_tag() {
        let plan = plan(
            &[MIRROR],
            &["ghcr.io/acme/agent", "nginx:1.29", "nginx:1.29"],
        )
        .unwrap();
        let custom: Vec<_> = plan
            .transfers
            .iter()
            .skip(defaults())
            .map(|it| (it.from.as_str(), it.to.as_str()))
            .collect();
        assert_eq!(
            custom,
            [
                (
                    "ghcr.io/acme/agent:latest",
                    "registry.example.com/exo/acme/agent:latest"
                ),
                (
                    "docker.io/library/nginx:1.29",
                    "registry.example.com/exo/library/nginx:1.29"
                ),
            ]
        );
    }

    #[test]
    fn a_custom_image_of_the_mirror_is_the_copy() {
        let own = "registry.example.com/exo/acme/agent:v1";
        let plan = plan(
            &[MIRROR],
            &[own, own, "registry.example.com/exotic/agent:v1"],
        )
        .unwrap();
        let present: Vec<_> = plan
            .present
            .iter()
            .map(ImageReference::as_str)
            .collect();
        assert_eq!(present, [own]);
        assert_eq!(
            plan.transfers[defaults()].to.as_str(),
            "registry.example.com/exo/exotic/agent:v1"
        );
    }

    #[test]
    fn another_origin_stands_for_docker_hub_alone() {
        let origin = Origin::registry_of(
            "hub.example.com:5000/proxy"
                .parse()
                .unwrap(),
        );
        let custom = ["ghcr.io/acme/agent:v1".parse().unwrap()];
        let plan = Plan::new(&settings(&[MIRROR]), &custom, &origin).unwrap();
        let froms: Vec<_> = plan
            .transfers
            .iter()
            .map(|it| it.from.as_str())
            .collect();
        assert_eq!(
            froms[0],
            "hub.example.com:5000/proxy/adaptivelive/agentkube-manager:v0.3.0"
        );
        assert_eq!(froms[defaults()], "ghcr.io/acme/agent:v1");
    }

    #[test]
    fn images_that_would_overwrite_each_other_are_refused() {
        let error = plan(&[MIRROR, BY_NAME], &["ghcr.io/acme/codex:v0.3.0"]).unwrap_err();
        assert_eq!(
            error,
            "`docker.io/adaptivelive/codex:v0.3.0` and `ghcr.io/acme/codex:v0.3.0` would both become \
             `registry.example.com/exo/codex:v0.3.0` (hint: plan for a mirror with the layout `repository`)"
        );
        let error = plan(&[("AGENTKUBE_IMAGE_REGISTRY", "docker.io")], &[]).unwrap_err();
        assert_eq!(
            error,
            "`docker.io/adaptivelive/agentkube-manager:v0.3.0` would be copied onto itself"
        );
        let error = plan(&[], &[]).unwrap_err();
        assert_eq!(error, "there is no mirror to plan for");
    }

    proptest! {
        #[test]
        fn every_copy_lies_under_the_prefix_with_its_tag(
            host in "[a-z]{1,8}\\.example(:[0-9]{1,5})?",
            path in "(/[a-z0-9]{1,9}){0,3}",
            name in any::<bool>(),
        ) {
            let prefix = format!("{host}{path}");
            let layout = if name { "name" } else { "repository" };
            let plan = plan(
                &[("AGENTKUBE_IMAGE_REGISTRY", &prefix), ("AGENTKUBE_MIRROR_LAYOUT", layout)],
                &["ghcr.io/acme/agent:v1"],
            ).unwrap();
            for transfer in &plan.transfers {
                prop_assert!(plan.mirror.prefix.covers(&transfer.to));
                prop_assert_eq!(transfer.to.tag(), transfer.from.tag());
            }
        }
    }
}
