use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event},
};

use super::{progress::Progress, trail};
use crate::{
    admission::Reason,
    api::{Readable, Rejection, UnreadableObject},
    cli::{client::client, cluster, duration, output},
    queries::{self, FoundRejections, RejectionFilter},
};

/// List what admission refused, whose it was, and why.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A Rejection stands for all refusals of one object to one user for one reason; COUNT says how many \
they were. Denials that were only warned of (`AGENTKUBE_ENFORCEMENT=warn`) say so in DECISION.

It takes the verb list on rejections.agentkube.io, and watch for --watch: the role `view` has both.

Examples:
  `agentkube audit rejections --all-namespaces --since 7d`
  `agentkube audit rejections -n team --reason RegistryNotAllowed -o csv`")]
pub(super) struct Args {
    /// The namespace; that of the kubeconfig's context if not given
    #[arg(short, long, value_name = "NS", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what was refused in the time before now, such as 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    since: Option<Duration>,
    /// Only what this user asked for
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only what was refused for this reason
    #[arg(long, value_name = "REASON", value_parser = clap::builder::PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.as_str())), hide_possible_values = true)]
    reason: Option<String>,
    /// What is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: RejectionsFormat,
    /// Print how many there are by reason, namespace and user, and not the Rejections; on a terminal
    /// that stands below the table anyway
    #[arg(long, conflicts_with_all = ["output", "watch"])]
    summary: bool,
    /// Go on with what is refused from now on, until Ctrl-C; `-o json` prints one object a line
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum RejectionsFormat {
    /// One line a Rejection, the latest first
    #[default]
    Table,
    /// An array of the objects as the cluster has them
    Json,
    /// One line a Rejection, with a header
    Csv,
}

/// Lists the Rejections of the cluster that the environment names.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    cluster::block_on(list(args))
}

/// RBAC: `list` on rejections, and `watch` to follow them.
async fn list(args: &Args) -> anyhow::Result<()> {
    let Args {
        namespace,
        all_namespaces,
        since,
        user,
        reason,
        output,
        summary,
        watch,
    } = args;
    let client = client().await?;
    let namespace = match namespace {
        Some(namespace) => Some(namespace.clone()),
        None if *all_namespaces => None,
        None => Some(client.default_namespace().to_owned()),
    };
    let filter = RejectionFilter {
        after: since.map(|since| Timestamp::now() - since),
        user: user.clone(),
        reason: reason.clone(),
    };
    let rejections = read(&client, namespace.as_deref(), &filter).await?;
    let is_terminal = io::stdout().is_terminal();
    if *summary {
        output::data(&trail::summary(&rejections, is_terminal))?;
        return Ok(());
    }
    if *watch {
        return follow(client, namespace.as_deref(), &filter, rejections, *output).await;
    }
    output::data(&render(&rejections, *output)?)?;
    match (*output, is_terminal) {
        (RejectionsFormat::Table, true) if !rejections.is_empty() => {
            output::data(&format!("\n{}", trail::summary(&rejections, true)))?;
        }
        _ => talk(&found(&rejections, namespace.as_deref())),
    }
    Ok(())
}

/// Reads the wanted Rejections. Of those that cannot be read, the name is told.
async fn read(
    client: &Client,
    namespace: Option<&str>,
    filter: &RejectionFilter,
) -> anyhow::Result<Vec<Rejection>> {
    let mut progress = Progress::new();
    progress.start("Rejections");
    let FoundRejections {
        rejections,
        unreadable,
    } = queries::rejections(client, namespace, filter, |read, remaining| {
        progress.read(read, remaining);
    })
    .await?;
    drop(progress);
    for unread in &unreadable {
        complain(unread);
    }
    Ok(rejections)
}

/// Prints what is there, and then each Rejection that is new or has one more.
async fn follow(
    client: Client,
    namespace: Option<&str>,
    filter: &RejectionFilter,
    mut rejections: Vec<Rejection>,
    format: RejectionsFormat,
) -> anyhow::Result<()> {
    // The latest comes last, where the next will be.
    rejections.reverse();
    match format {
        RejectionsFormat::Table => output::data(&trail::header())?,
        RejectionsFormat::Csv => output::data(&trail::csv_header())?,
        RejectionsFormat::Json => {}
    }
    for rejection in &rejections {
        output::data(&one(rejection, format)?)?;
    }
    let mut shown: std::collections::HashMap<_, _> = rejections
        .iter()
        .map(|rejection| (key(rejection), rejection.spec.count))
        .collect();
    let api: Api<Readable<Rejection>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut events = crate::watch::events(api, watcher::Config::default());
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            interrupted = tokio::signal::ctrl_c() => {
                return interrupted.context("Ctrl-C cannot be handled");
            }
        };
        let mut rejection = match event {
            Some(Ok(Event::Apply(rejection) | Event::InitApply(rejection))) => {
                match rejection.read() {
                    Ok(rejection) => rejection,
                    Err(unread) => {
                        complain(&unread);
                        continue;
                    }
                }
            }
            Some(Ok(Event::Init | Event::InitDone)) => continue,
            Some(Ok(Event::Delete(rejection))) => {
                shown.remove(&key(&rejection));
                continue;
            }
            Some(Err(error)) => {
                talk(&format!("the watch failed and is retried: {error}"));
                continue;
            }
            None => return Ok(()),
        };
        rejection.metadata.managed_fields = None;
        let count = rejection.spec.count;
        let is_new = shown.insert(key(&rejection), count) != Some(count);
        if is_new && filter.takes(&rejection) {
            output::data(&one(&rejection, format)?)?;
        }
    }
}

/// Tells of a Rejection that cannot be read.
fn complain(unread: &UnreadableObject) {
    let UnreadableObject {
        metadata, field, ..
    } = unread;
    let name = metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let namespace = metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    talk(&format!(
        "warning: the Rejection `{namespace}/{name}` cannot be read: {field} (hint: use the release that wrote it)"
    ));
}

fn key<K: ResourceExt>(rejection: &K) -> (Option<String>, String) {
    (rejection.namespace(), rejection.name_any())
}

fn render(rejections: &[Rejection], format: RejectionsFormat) -> anyhow::Result<String> {
    Ok(match format {
        RejectionsFormat::Table if rejections.is_empty() => String::new(),
        RejectionsFormat::Table => trail::table(rejections),
        RejectionsFormat::Json => serde_json::to_string_pretty(rejections)? + "\n",
        RejectionsFormat::Csv => {
            let mut text = trail::csv_header();
            for rejection in rejections {
                text.push_str(&one(rejection, format)?);
            }
            text
        }
    })
}

/// One Rejection, for a list that has no end.
fn one(rejection: &Rejection, format: RejectionsFormat) -> anyhow::Result<String> {
    Ok(match format {
        RejectionsFormat::Table => trail::line(rejection),
        RejectionsFormat::Json => serde_json::to_string(rejection)? + "\n",
        RejectionsFormat::Csv => trail::csv_line(rejection),
    })
}

/// How many there are, in words.
fn found(rejections: &[Rejection], namespace: Option<&str>) -> String {
    let denials: i64 = rejections
        .iter()
        .map(|rejection| rejection.spec.count)
        .sum();
    match (rejections.len(), namespace) {
        (0, Some(namespace)) => format!(
            "no Rejections in the namespace `{namespace}` (hint: --all-namespaces looks in all of them)"
        ),
        (0, None) => "no Rejections".to_owned(),
        (1, _) => format!("1 Rejection, refused {denials} times"),
        (count, _) => format!("{count} Rejections, refused {denials} times"),
    }
}

fn talk(text: &str) {
    // Where stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
