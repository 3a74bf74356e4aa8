use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject},
};
use serde_json::Value;

use super::{
    authors::{AuthorArgs, Authors},
    findings::{self, FindingsFormat},
    progress::Progress,
};
use crate::{
    api::{Agent, Readable, Tool},
    checks,
    cli::{
        client::client,
        cluster, output,
        settings::{SettingsArgs, Variables},
    },
    queries::{self, Pages},
    scan::{AskedSince, Excluded, Looked, Owner, Scan, ScanFinding, ScannedKind},
};

/// The exit status if there are findings.
const FOUND: u8 = 1;
/// The exit status if the cluster or a setting could not be read.
const UNREADABLE: u8 = 2;

/// Check every live Agent, Tool and pod against the current configuration.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The settings are read from the running manager, or from a file. `--set` overrides one of them, to try \
a change out before it is made. Nothing in the cluster is changed.

Required RBAC: list on agents.agentkube.io, tools.agentkube.io and pods; get on agents.agentkube.io \
and tools.agentkube.io; get on the manager's Deployment, to read the running manager's settings; get on \
the policies and their bindings, to report references that were never checked; create on \
subjectaccessreviews, for --author.

Exit status: 0 no findings, 1 findings, 2 something could not be read

Examples:
  `agentkube audit scan --set AGENTKUBE_ALLOWED_REGISTRIES=registry.example.com`
  `agentkube audit scan -o openreports | kubectl apply -f -`")]
pub(super) struct Args {
    /// Scan only this namespace; kube-system and agentkube-system are scanned only if named here
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: FindingsFormat,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    authors: AuthorArgs,
    /// Objects per page
    #[arg(long, hide = true, default_value_t = queries::PAGE, value_parser = clap::value_parser!(u32).range(1..))]
    page_size: u32,
}

/// Scans a cluster. Exit status: 0 no findings, 1 findings, 2 something could not be read.
pub(super) fn run(args: &Args) -> ExitCode {
    match cluster::block_on(scan(args)).and_then(|found| print(&found, args)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::error(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Reads the cluster that the environment names, page by page.
///
/// RBAC: `list` on agents, tools and pods, `get` on agents and tools, `get` on the manager's Deployment
/// unless a file has the settings, `get` on the policies, and `create` on subjectaccessreviews if
/// authors are given.
async fn scan(args: &Args) -> anyhow::Result<(Vec<ScanFinding>, Looked)> {
    let Args {
        namespace,
        output: _,
        settings,
        authors,
        page_size,
    } = args;
    let client = client().await?;
    let policy = settings
        .policy_or(running(&client))
        .await?;
    let excluded = match namespace {
        Some(_) => Excluded::Judge,
        None => Excluded::LeaveOut,
    };
    let mut scan = Scan::new(&policy, excluded);
    if policy.authorize_references
        && let Some(since) = asked_since(&client).await?
    {
        scan = scan.asked_since(since);
    }
    let authors = Authors::new(&client, authors);
    let mut progress = Progress::new();
    let pages =
        |kind: ApiResource| Pages::<Value>::new(&client, kind, namespace.as_deref(), *page_size);
    let mut agents = pages(ApiResource::erase::<Agent>(&()));
    progress.start("Agents");
    while let Some(page) = agents.next().await? {
        for agent in &page.items {
            scan.agent(agent);
            authors
                .ask(&mut scan, ScannedKind::Agent, agent)
                .await?;
        }
        progress.read(page.items.len(), page.remaining());
    }
    let mut tools = pages(ApiResource::erase::<Tool>(&()));
    progress.start("Tools");
    while let Some(page) = tools.next().await? {
        for tool in &page.items {
            scan.tool(tool);
            authors
                .ask(&mut scan, ScannedKind::Tool, tool)
                .await?;
        }
        progress.read(page.items.len(), page.remaining());
    }
    let mut pods = pages(ApiResource::erase::<Pod>(&()));
    progress.start("pods");
    while let Some(page) = pods.next().await? {
        for pod in &page.items {
            for owner in scan.missing(pod) {
                let object = read(&client, &owner).await?;
                scan.learn(&owner, object.as_ref());
            }
            scan.pod(pod);
        }
        progress.read(page.items.len(), page.remaining());
    }
    Ok(scan.finish())
}

/// The time since which the API server itself checks references. `None`, with a warning, if the policies
/// may not be read.
async fn asked_since(client: &Client) -> anyhow::Result<Option<AskedSince>> {
    match checks::asked_since(client).await {
        Ok(since) => Ok(Some(since)),
        Err(Error::Api(status)) if status.is_forbidden() => {
            // Nothing can be reported once stderr is closed.
            let _ = writeln!(
                io::stderr(),
                "warning: references that were made before the API server checked them are not reported: {} (hint: this needs the verb get on the policies, see docs/auditing.md)",
                status.message
            );
            Ok(None)
        }
        Err(error) => Err(cluster::said(error)).context("the policies cannot be read"),
    }
}

async fn running(client: &Client) -> anyhow::Result<Variables> {
    cluster::manager_settings(client)
        .await
        .map_err(|error| {
            anyhow!(
                "{error:#} (hint: give the settings with --manager or --env-file, or request the verb get on it)"
            )
        })
}

/// Reads an Agent or Tool that was created after the list was read.
async fn read(client: &Client, owner: &Owner) -> anyhow::Result<Option<Value>> {
    let Owner {
        kind,
        namespace,
        name,
    } = owner;
    let resource = match kind {
        ScannedKind::Tool => ApiResource::erase::<Tool>(&()),
        ScannedKind::Agent | ScannedKind::Pod => ApiResource::erase::<Agent>(&()),
    };
    let object =
        Api::<Readable<DynamicObject>>::namespaced_with(client.clone(), namespace, &resource)
            .get_opt(name)
            .await
            .map_err(cluster::said)
            .with_context(|| format!("the {} {namespace}/{name} cannot be read", kind.as_str()))?;
    Ok(object
        .map(serde_json::to_value)
        .transpose()?)
}

fn print(found: &(Vec<ScanFinding>, Looked), args: &Args) -> anyhow::Result<u8> {
    let (findings, looked) = found;
    output::data(&findings::render(
        findings,
        looked,
        args.output,
        Timestamp::now(),
    )?)?;
    // Nothing can be reported once stderr is closed.
    if !args.output.is_table() {
        let _ = writeln!(io::stderr(), "{}", findings::summary(findings, looked));
    }
    if let (Some(namespace), true) = (&args.namespace, *looked == Looked::default()) {
        let _ = writeln!(
            io::stderr(),
            "warning: the namespace `{namespace}` is empty or does not exist (hint: see `kubectl get namespaces`)"
        );
    }
    Ok(if findings.is_empty() { 0 } else { FOUND })
}
