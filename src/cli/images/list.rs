use serde::Serialize;

use super::{
    Configuration, ImageArgs,
    cluster::Usage,
    named::{NamedImage, OwnImage},
};
use crate::{
    cli::{output, table::Table},
    images::{
        Component, ComponentKind, ImageReference, ImageSettings, Row, Source, candidates, rows,
    },
};

// clap makes a group of every struct and names it after the struct.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    subject: ImageArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: ListFormat,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum ListFormat {
    /// Component, reference, rule, and the variable that the rule read
    #[default]
    Table,
    /// The table with the kind, the token's variable, and the image that would run without the rule
    Wide,
    /// An array of objects
    Json,
    /// A list of objects
    Yaml,
    /// Only the references, without duplicates
    Names,
}

/// Prints the matrix as configured.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { subject, output } = args;
    let Configuration {
        images,
        own,
        cluster,
    } = subject.read()?;
    let mut entries = entries(&images, own);
    if let Some(cluster) = cluster {
        for entry in &mut entries {
            entry.usage = entry
                .image
                .as_ref()
                .map(|image| cluster.usage(image));
        }
    }
    output::data(&render(&entries, *output)?)?;
    Ok(())
}

/// One line of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MatrixEntry {
    component: Component,
    kind: &'static str,
    /// `None` for Custom, which has no image until an Agent names one.
    image: Option<NamedImage>,
    /// The rule that chose the image.
    source: Option<Source>,
    /// The variable that the rule read.
    variable: Option<&'static str>,
    /// The variable that overrides the image.
    override_variable: Option<&'static str>,
    /// The variable from which the runtime reads its token.
    token_env: Option<&'static str>,
    /// The image that the next lower rule would give.
    instead_of: Option<ImageReference>,
    /// The usage of the image, if a cluster was read.
    #[serde(flatten)]
    usage: Option<Usage>,
}

impl MatrixEntry {
    fn new(row: &Row, settings: &ImageSettings) -> Self {
        let mut answers = candidates(row.component, None, settings);
        let (chosen, next) = (answers.next(), answers.next());
        Self {
            component: row.component,
            kind: match row.kind {
                ComponentKind::Infrastructure => "infrastructure",
                ComponentKind::Runtime => "runtime",
            },
            source: chosen.as_ref().map(|it| it.source),
            variable: chosen
                .as_ref()
                .and_then(|it| it.variable),
            image: chosen.map(|it| NamedImage::Valid(it.image)),
            override_variable: row.variable,
            token_env: row.token,
            instead_of: next.map(|it| it.image),
            usage: None,
        }
    }

    fn custom(own: OwnImage) -> Self {
        let OwnImage { component, image } = own;
        Self {
            component,
            kind: if component == Component::Tool {
                "tool"
            } else {
                "runtime"
            },
            image: Some(image),
            source: Some(Source::Resource),
            variable: None,
            override_variable: None,
            token_env: None,
            instead_of: None,
            usage: None,
        }
    }
}

/// Every row of the matrix, with the given images in place of Custom's empty one.
fn entries(settings: &ImageSettings, customs: Vec<OwnImage>) -> Vec<MatrixEntry> {
    let mut customs: Vec<_> = customs
        .into_iter()
        .map(MatrixEntry::custom)
        .collect();
    let is_given = customs
        .iter()
        .any(|entry| entry.component == Component::Custom);
    let mut entries: Vec<_> = rows()
        .map(|row| MatrixEntry::new(row, settings))
        .filter(|entry| entry.image.is_some() || !is_given)
        .collect();
    entries.append(&mut customs);
    entries
}

fn render(entries: &[MatrixEntry], format: ListFormat) -> anyhow::Result<String> {
    Ok(match format {
        ListFormat::Table => table(entries, false),
        ListFormat::Wide => table(entries, true),
        ListFormat::Json => format!("{}\n", serde_json::to_string_pretty(entries)?),
        ListFormat::Yaml => serde_saphyr::to_string(&entries)?,
        ListFormat::Names => {
            let mut names: Vec<_> = entries
                .iter()
                .filter_map(|entry| Some(entry.image.as_ref()?.as_str()))
                .collect();
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(*name));
            names
                .iter()
                .flat_map(|name| [name, "\n"])
                .collect()
        }
    })
}

/// A column of the table.
struct Column {
    head: &'static str,
    cell: fn(&MatrixEntry) -> String,
}

const COLUMNS: [Column; 4] = [
    Column {
        head: "COMPONENT",
        cell: |entry| entry.component.to_string(),
    },
    Column {
        head: "REFERENCE",
        cell: |entry| {
            shown(
                entry
                    .image
                    .as_ref()
                    .map(NamedImage::as_str),
            )
        },
    },
    Column {
        head: "RULE",
        cell: |entry| shown(entry.source.map(Source::as_str)),
    },
    Column {
        head: "VARIABLE",
        cell: |entry| shown(entry.variable),
    },
];

/// The columns that need a cluster.
const COUNTS: [Column; 3] = [
    Column {
        head: "AGENTS",
        cell: |entry| count(entry, |usage| usage.agents),
    },
    Column {
        head: "PODS",
        cell: |entry| count(entry, |usage| usage.pods),
    },
    Column {
        head: "NODES",
        cell: |entry| count(entry, |usage| usage.nodes),
    },
];

const WIDE: [Column; 3] = [
    Column {
        head: "KIND",
        cell: |entry| entry.kind.to_owned(),
    },
    Column {
        head: "TOKEN",
        cell: |entry| shown(entry.token_env),
    },
    Column {
        head: "INSTEAD OF",
        cell: |entry| {
            shown(
                entry
                    .instead_of
                    .as_ref()
                    .map(ImageReference::as_str),
            )
        },
    },
];

fn shown(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn count(entry: &MatrixEntry, of: fn(Usage) -> usize) -> String {
    entry
        .usage
        .map_or_else(String::new, |usage| of(usage).to_string())
}

fn table(entries: &[MatrixEntry], wide: bool) -> String {
    let counts = entries
        .iter()
        .any(|entry| entry.usage.is_some());
    let columns: Vec<_> = COLUMNS
        .iter()
        .chain(COUNTS.iter().filter(|_| counts))
        .chain(WIDE.iter().filter(|_| wide))
        .collect();
    let header: Vec<_> = columns
        .iter()
        .map(|column| column.head)
        .collect();
    let mut table = Table::new(&header);
    for entry in entries {
        let cells: Vec<_> = columns
            .iter()
            .map(|column| (column.cell)(entry))
            .collect();
        let cells: Vec<_> = cells
            .iter()
            .map(String::as_str)
            .collect();
        table.row(&cells);
    }
    table.render()
}
