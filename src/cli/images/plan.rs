use anyhow::{Context, bail};

use super::{Configuration, ImageArgs, named::NamedImage, with_hint};
use crate::{
    cli::output,
    images::{MirrorPrefix, REGISTRY_VARIABLE},
    mirroring::{Origin, Plan, PlanFormat},
};

impl clap::ValueEnum for PlanFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()).help(self.help()))
    }
}

/// Write the input for a tool that fills a mirror with every image that pods will pull from it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The plan goes to where pods look with AGENTKUBE_IMAGE_REGISTRY=PREFIX and the layout that
AGENTKUBE_MIRROR_LAYOUT sets. Tags stay as they are, and all platforms are kept.

Examples:
  `agentkube images plan --to registry.example.com/mirror --format skopeo > skopeo.yaml`
  `agentkube images plan --to registry.example.com/mirror --format crane | sh`
  `agentkube images plan --to registry.example.com/mirror --format regsync --from-cluster > regsync.yaml`")]
pub(super) struct Args {
    /// The mirror: a host with an optional port and path
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    to: MirrorPrefix,
    /// The tool to write the plan for
    #[arg(long, value_enum)]
    format: PlanFormat,
    /// A registry that already mirrors docker.io, to copy from instead
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    from: Option<MirrorPrefix>,
    /// Use plain HTTP for the registries of `--to` and `--from`
    #[arg(long)]
    insecure_registry: bool,
    #[command(flatten)]
    subject: ImageArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {
        to,
        format,
        from,
        insecure_registry,
        subject,
    } = args;
    let Configuration {
        images,
        own,
        cluster: _,
    } = subject.read_with([(REGISTRY_VARIABLE, to.as_str())])?;
    let own = own
        .into_iter()
        .map(|own| match own.image {
            NamedImage::Valid(reference) => Ok(reference),
            NamedImage::Invalid { text, error } => {
                Err(error).with_context(|| format!("`{text}` cannot be planned for"))
            }
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    if *format == PlanFormat::Hosts && from.is_some() {
        bail!("`hosts` copies nothing, so `--from` has no effect (hint: leave out `--from`)");
    }
    let mut plain_http = Vec::new();
    if *insecure_registry {
        let prefixes = [Some(to), from.as_ref()];
        plain_http.extend(
            prefixes
                .into_iter()
                .flatten()
                .filter_map(|prefix| prefix.as_str().split('/').next()),
        );
        plain_http.dedup();
    }
    let origin = from
        .clone()
        .map_or_else(Origin::default, Origin::registry_of);
    let text = Plan::new(&images, &own, &origin).context("there is no plan")?;
    let text = format
        .write(&text, &plain_http)
        .with_context(|| format!("there is no plan for `{}`", format.as_str()))?;
    output::data(&text)?;
    Ok(())
}

fn prefix(text: &str) -> Result<MirrorPrefix, String> {
    text.parse::<MirrorPrefix>()
        .map_err(|error| with_hint(&error, error.hint()))
}
