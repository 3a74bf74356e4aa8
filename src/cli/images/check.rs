use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use futures::{StreamExt, stream};
use serde::Serialize;

use super::Subject;
use crate::{
    cli::{output, table::Table},
    images::{Component, ImageReference, resolve, rows},
    registry::{AskError, Client, ClientOptions, Credentials, Image, PlatformImage},
};

/// How many images are asked for at once: enough to hide the way there, few enough for a registry
/// that counts its callers.
const AT_ONCE: usize = 8;

/// Ask the registries whether every image of the configuration is there.
#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(after_help = "\
Exit status: 0 everything is there, 1 something is missing, 2 a registry could not be asked.

Example:
  `agentkube images check --set AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror --platform linux/arm64`")]
pub(super) struct Args {
    /// A platform that every image must be there for, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    platform: Vec<String>,
    /// Ask registries that do not speak TLS in plain HTTP
    #[arg(long)]
    insecure_registry: bool,
    /// Trust the certificate authorities of this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Take credentials from this Docker configuration; without it nobody is named
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// What is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    subject: Subject,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// A line for each image, and what a node has to hold
    #[default]
    Table,
    /// One object with everything
    Json,
}

/// Exits with 2 for whatever kept it from asking, too: 1 means that something is missing.
pub(super) fn run(args: &Args) -> ExitCode {
    match check(args) {
        Ok(status) => status,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let Args {
        platform,
        insecure_registry: _,
        ca_file: _,
        docker_config: _,
        output,
        subject,
    } = args;
    let client = client(args)?;
    let wanted = wanted(subject)?;
    let answers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(ask(&client, &wanted));
    let report = Report::new(wanted, answers, platform);
    match output {
        Format::Table => output::data(&report.table())?,
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
    }
    report.complain();
    Ok(report.status())
}

fn client(args: &Args) -> anyhow::Result<Client> {
    let mut options = ClientOptions {
        plain_http: args.insecure_registry,
        ..ClientOptions::default()
    };
    if let Some(path) = &args.docker_config {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        options.credentials =
            Credentials::parse(&text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.ca_file {
        let pem = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        options.authorities = Some(pem);
    }
    let named = args.ca_file.as_ref().map_or_else(
        || "the client".to_owned(),
        |path| path.display().to_string(),
    );
    Client::new(options).context(named)
}

/// An image to ask for, and what it is for.
struct Wanted {
    reference: ImageReference,
    components: Vec<Component>,
}

/// Every image of the configuration, each once.
fn wanted(subject: &Subject) -> anyhow::Result<Vec<Wanted>> {
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

/// Asks for all of them, in their order, and says on a terminal how far that is.
async fn ask(client: &Client, wanted: &[Wanted]) -> Vec<Result<Image, AskError>> {
    let terminal = io::stderr().is_terminal();
    let mut answers = stream::iter(wanted)
        .map(|it| client.image(&it.reference))
        .buffered(AT_ONCE);
    let mut answered = Vec::new();
    let say = |count: usize| {
        if terminal {
            // Where stderr is gone there is nobody left to tell.
            let _ = write!(
                io::stderr(),
                "\r\x1b[Kasked for {count} of {} images",
                wanted.len()
            );
        }
    };
    say(0);
    while let Some(answer) = answers.next().await {
        answered.push(answer);
        say(answered.len());
    }
    if terminal {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    answered
}

/// What the registries said.
#[derive(Debug, Serialize)]
struct Report {
    images: Vec<Checked>,
    nodes: Vec<Node>,
}

/// One image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    components: Vec<Component>,
    image: String,
    /// `present`, `missing`, `missingPlatform`, `denied`, `tls`, `unreachable` or `invalid`.
    status: &'static str,
    digest: Option<String>,
    platforms: Vec<Size>,
    /// Platforms that were asked for, or that the image's own index lists, and that are not there.
    missing_platforms: Vec<String>,
    message: Option<String>,
    #[serde(skip)]
    held: Vec<PlatformImage>,
}

/// What one platform takes.
#[derive(Debug, Serialize)]
struct Size {
    platform: String,
    /// Compressed, as on the registry.
    bytes: u64,
}

/// A node of a platform that runs every image there is for it.
#[derive(Debug, Serialize)]
struct Node {
    platform: String,
    images: usize,
    /// Compressed, layers shared by several images counted once.
    bytes: u64,
}

impl Report {
    fn new(
        wanted: Vec<Wanted>,
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

    fn table(&self) -> String {
        let mut table = Table::new(&[
            "COMPONENT",
            "REFERENCE",
            "STATUS",
            "DIGEST",
            "PLATFORMS",
            "SIZE",
        ]);
        for image in &self.images {
            let components: Vec<_> = image
                .components
                .iter()
                .map(|component| component.as_str())
                .collect();
            let platforms: Vec<_> = image
                .platforms
                .iter()
                .map(|it| it.platform.as_str())
                .collect();
            let largest = image
                .platforms
                .iter()
                .map(|it| it.bytes)
                .max();
            table.row(&[
                &components.join(","),
                &image.image,
                image.status,
                image
                    .digest
                    .as_deref()
                    .map_or("", short),
                &platforms.join(","),
                &largest.map_or_else(String::new, human),
            ]);
        }
        let mut text = table.render();
        if !self.nodes.is_empty() {
            text.push('\n');
        }
        for Node {
            platform,
            images,
            bytes,
        } in &self.nodes
        {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "a {platform} node that runs {images} of {} images holds {}, compressed and with shared layers counted once",
                self.images.len(),
                human(*bytes)
            );
        }
        text
    }

    /// Says on stderr what is wrong, one line an image.
    fn complain(&self) {
        for image in &self.images {
            if let Some(message) = &image.message {
                // Where stderr is gone there is nobody left to tell.
                let _ = writeln!(io::stderr(), "error: `{}`: {message}", image.image);
            }
        }
    }

    /// An answer that is missing says less than a "no", so that it counts for more.
    fn status(&self) -> ExitCode {
        let statuses = || {
            self.images
                .iter()
                .map(|image| image.status)
        };
        let is_there = |status| status == "present";
        let is_missing = |status: &str| status.starts_with("missing");
        if statuses().any(|status| !is_there(status) && !is_missing(status)) {
            ExitCode::from(2)
        } else if statuses().any(is_missing) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl Checked {
    fn new(wanted: Wanted, answer: Result<Image, AskError>, platforms: &[String]) -> Self {
        let Wanted {
            reference,
            components,
        } = wanted;
        let mut checked = Self {
            components,
            image: reference.to_string(),
            status: "present",
            digest: None,
            platforms: Vec::new(),
            missing_platforms: Vec::new(),
            message: None,
            held: Vec::new(),
        };
        match answer {
            Ok(image) => checked.fill(image, platforms),
            Err(error) => {
                checked.status = error.as_str();
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
            self.status = "missingPlatform";
            self.message = Some(format!(
                "not there for {}",
                self.missing_platforms.join(", ")
            ));
        }
    }
}

/// The platforms that were asked for, or else those that any image is there for.
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

/// Whether an image for one platform runs where the other is asked for: `linux/arm64` is content
/// with any variant.
fn serves(held: &str, wanted: &str) -> bool {
    held.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As much of a digest as people compare.
fn short(digest: &str) -> &str {
    digest
        .get(.."sha256:".len() + 12)
        .unwrap_or(digest)
}

/// Bytes as people read them, in binary units, rounded down to a tenth.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = units
        .get(unit)
        .copied()
        .unwrap_or_default();
    if unit == 0 {
        format!("{bytes} {name}")
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split('/').collect();
    if matches!(parts.len(), 2 | 3)
        && parts
            .iter()
            .all(|part| !part.is_empty())
    {
        Ok(text.to_owned())
    } else {
        Err("not of the form `linux/arm64` or `linux/arm/v7`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Blob;

    #[test]
    fn sizes_are_in_binary_units() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 5 << 30, u64::MAX];
        assert_eq!(
            sizes.map(human),
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1023.9 KiB",
                "5.0 GiB",
                "16777215.9 TiB"
            ]
        );
    }

    #[test]
    fn a_platform_is_served_by_its_variants() {
        assert!(serves("linux/arm64/v8", "linux/arm64"));
        assert!(serves("linux/arm64", "linux/arm64"));
        assert!(!serves("linux/arm64", "linux/arm"));
        assert!(!serves("linux/arm/v6", "linux/arm/v7"));
        for text in ["linux", "linux/", "/", "a/b/c/d", ""] {
            assert!(platform(text).is_err(), "{text}");
        }
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
            .map(|number| Wanted {
                reference: format!("example.com/app{number}:v1")
                    .parse()
                    .unwrap(),
                components: vec![Component::Custom],
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
        assert_eq!(report.images[0].status, "missingPlatform");
        assert_eq!(report.images[0].missing_platforms, ["linux/arm64"]);
        assert_eq!(report.status(), ExitCode::FAILURE);
        assert_eq!(report.nodes[1].images, 0);
    }
}
