//! The least that a webhook can do: the same listener, TLS and HTTP as ours, and always the same answer.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use agentkube::{
    server::{
        Limits, ServingCertificate, Shutdown, bind,
        certificates::{issue::CertificateAuthority, pair::Pair},
        serve,
        tls::server_config,
    },
    telemetry::Metrics,
};
use agentkube_playground::{Process, free_ports, until};
use anyhow::Context;
use axum::{Router, routing::post};
use bytes::Bytes;
use http::header;
use jiff::Timestamp;

use super::{
    load::{Ask, Target},
    stage::Stage,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, clap::Args)]
pub(crate) struct NoopArgs {
    /// The port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// The file with the answer
    #[arg(long)]
    answer: PathBuf,
    /// Where to write the authority of the certificate, in PEM
    #[arg(long)]
    authority: PathBuf,
}

/// Serves until it is told to end.
///
/// # Errors
///
/// The port is taken, or a file cannot be read or written.
pub(crate) async fn serve_noop(
    args: NoopArgs,
    asked: &agentkube_playground::Shutdown,
) -> anyhow::Result<ExitCode> {
    let NoopArgs {
        port,
        answer,
        authority: path,
    } = args;
    let answer = Bytes::from(std::fs::read(answer).context("cannot read the answer")?);
    let now = Timestamp::now();
    let authority = CertificateAuthority::new(DAY, now)?;
    let leaf = authority.issue(&["127.0.0.1".to_owned()], DAY, now)?;
    let metrics = Metrics::new("noop");
    let certificate = Arc::new(ServingCertificate::new(metrics.certificate_expiry()));
    let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes())?;
    certificate.replace(Arc::new(pair));
    let listener = bind(([127, 0, 0, 1], port).into(), "--port")?;
    // ReviewBody or not there: somebody waits for it.
    let unnamed = path.with_extension("new");
    std::fs::write(&unnamed, authority.certificate_pem())?;
    std::fs::rename(&unnamed, &path)?;
    let router = Router::new().route(
        "/mutate",
        post(async move |_: Bytes| ([(header::CONTENT_TYPE, "application/json")], answer)),
    );
    let serving = serve(
        listener,
        Some(server_config(certificate, None)?),
        router,
        Limits::webhook(Duration::ZERO),
        metrics.connections(),
        Shutdown::new(),
    );
    tokio::select! {
        () = serving => {}
        () = asked.asked() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The process that does so. Dropping it kills it.
pub(super) struct Noop {
    process: Process,
    pub(super) target: Target,
}

impl Noop {
    /// Starts one, and waits until it answers `ask` with these bytes.
    pub(super) async fn start(
        stage: &Stage,
        name: &str,
        ask: &Ask,
        answer: &[u8],
    ) -> anyhow::Result<Self> {
        let directory = stage.control_plane.directory();
        let [port] = free_ports()?;
        let [answer_file, authority] =
            ["answer", "authority"].map(|what| directory.join(format!("{name}.{what}")));
        std::fs::write(&answer_file, answer)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("noop")
            .arg(format!("--port={port}"))
            .arg("--answer")
            .arg(&answer_file)
            .arg("--authority")
            .arg(&authority);
        let mut process = Process::start(name, command, directory)?;
        let target = until(
            "the peer of the handler",
            Duration::from_secs(10),
            async || {
                process.expect_running()?;
                let Ok(authority) = std::fs::read(&authority) else {
                    return Ok(None);
                };
                let target = Target::new(port, &authority)?;
                Ok(target
                    .ask(ask)
                    .await
                    .is_ok()
                    .then_some(target))
            },
        )
        .await?;
        Ok(Self { process, target })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}
