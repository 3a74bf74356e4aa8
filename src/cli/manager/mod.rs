//! `agentkube manager`: one replica, put together and run.
//!
//! `[ Args ] -> [ Assembly ] of a [ Replica ] -> tasks, until the first of them ends`

mod args;
mod assembly;
mod replica;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;

pub(super) use self::args::Args;
use self::assembly::{Assembly, Ports, Serving};
use super::{check, client::client, logging, settings};
use crate::{
    admission::Policy,
    api::MANAGER,
    checks::Installation,
    rejections::Retention,
    server::{
        bind,
        callers::client_auth::ClientAuthorities,
        certificates::issue::{Lifetimes, service_names},
    },
};

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::start(args.log_format);
    let policy = settings::from_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    if args.check {
        return runtime.block_on(check(args, policy));
    }
    let policy = policy.context("the manager does not start")?;
    runtime.block_on(manage(args, policy))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the findings of all checks without starting.
async fn check(args: Args, policy: anyhow::Result<Policy>) -> anyhow::Result<ExitCode> {
    let mut wrong = Vec::new();
    wrong.extend(lifetimes(&args).err());
    if let Some(file) = &args.client_ca {
        let clients = ClientAuthorities::default();
        wrong.extend(
            clients
                .load(file)
                .await
                .err()
                .map(anyhow::Error::from),
        );
    }
    let authorizes_references = match policy {
        Ok(policy) => policy.authorize_references,
        Err(error) => {
            wrong.push(error);
            true
        }
    };
    let subject = subject(&args, authorizes_references);
    check::run(&wrong, client().await, &subject).await
}

fn lifetimes(args: &Args) -> anyhow::Result<Lifetimes> {
    Ok(Lifetimes::new(
        args.authority_lifetime,
        args.certificate_lifetime,
    )?)
}

/// The installation that this manager belongs to.
fn subject(args: &Args, authorizes_references: bool) -> Installation {
    let mut names = service_names(MANAGER, &args.namespace);
    names.extend(args.serving_name.iter().cloned());
    Installation {
        namespace: args.namespace.clone(),
        names,
        tls_dir: args.tls_dir.clone(),
        authorizes_references,
        authorizes_metrics: args.metrics_authorization,
    }
}

async fn manage(args: Args, policy: Policy) -> anyhow::Result<()> {
    let lifetimes = lifetimes(&args)?;
    let subject = subject(&args, policy.authorize_references);
    let Args {
        check: _,
        check_interval,
        webhook_address,
        metrics_address,
        probe_address,
        namespace,
        identity,
        serving_name: _,
        tls_dir,
        certificate_lifetime: _,
        authority_lifetime: _,
        client_ca,
        client_name,
        metrics_authorization,
        drain_delay,
        rejections_per_namespace,
        rejections_max_age,
        log_format: _,
    } = args;
    let retention = Retention {
        per_namespace: rejections_per_namespace.into(),
        max_age: rejections_max_age,
        ..Retention::default()
    };
    let ports = Ports {
        webhook: bind(webhook_address, "--webhook-address")?,
        metrics: bind(metrics_address, "--metrics-address")?,
        probes: bind(probe_address, "--probe-address")?,
    };
    let mut assembly = Assembly::new(client().await?, Arc::new(policy), retention);
    if let Some(directory) = tls_dir {
        assembly.follow_certificates(directory);
    } else {
        assembly.make_certificates(&namespace, subject.names.clone(), lifetimes);
    }
    if let Some(file) = client_ca {
        assembly
            .authenticate_clients(file, client_name)
            .await?;
    }
    assembly.follow_index();
    assembly.look_for_problems(subject, check_interval);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %webhook_address, "the manager has started");
    assembly
        .run(Serving {
            ports,
            authorizes_metrics: metrics_authorization,
            drain: Duration::from_secs(drain_delay),
            namespace,
            identity,
        })
        .await
}
