//! `agentkube audit rejections`, on a real cluster.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::{rejection, rejections};
use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![Manager:
        rejections_are_listed_filtered_and_summed_up,
        a_list_that_is_watched_goes_on_with_what_is_refused,
    ]
}

fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentkube"));
    command
        .args(["audit", "rejections"])
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", cluster.control_plane.admin_kubeconfig())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn refuse(ns: &Namespace, name: &str, runtime: &str) -> anyhow::Result<()> {
    ns.refused(&agent(name, &json!({"runtime": runtime})))
        .await?;
    Ok(())
}

async fn rejections_are_listed_filtered_and_summed_up(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("listed").await?;
    refuse(&ns, "one", "Custom").await?;
    refuse(&ns, "two", "Codx").await?;
    rejections(&ns, 2).await?;
    let say = async |arguments: &[&str]| -> anyhow::Result<String> {
        let arguments = [arguments, &["--namespace", &ns.name]].concat();
        let output = command(cluster, &arguments)
            .output()
            .await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let table = say(&[]).await?;
    let lines: Vec<_> = table.lines().collect();
    ensure!(
        lines.len() == 3 && lines[0].starts_with("NAMESPACE") && !table.contains('█'),
        "{table}"
    );
    ensure!(
        table.contains("ImageRequired") && table.contains("(hint: did you mean \"Codex\"?)"),
        "{table}"
    );
    let objects: Vec<Value> = serde_json::from_str(&say(&["--output=json"]).await?)?;
    ensure!(
        objects.len() == 2
            && objects[0]["kind"] == "Rejection"
            && objects[0]["metadata"]["managedFields"].is_null(),
        "{objects:?}"
    );
    let csv = say(&["--output=csv", "--reason=UnknownRuntime"]).await?;
    let lines: Vec<_> = csv.lines().collect();
    ensure!(
        lines.len() == 2
            && lines[0]
                == "namespace,kind,name,reason,user,count,first_seen,last_seen,decision,message"
            && lines[1].contains(",Agent,two,UnknownRuntime,admin,1,"),
        "{csv}"
    );
    for (arguments, count) in [
        (["--user=admin", "--since=1h"], 3),
        (["--user=nobody", "--since=1h"], 0),
        (["--user=admin", "--since=0s"], 0),
    ] {
        let said = say(&arguments).await?;
        ensure!(said.lines().count() == count, "{arguments:?}: {said}");
    }
    let summary = say(&["--summary"]).await?;
    ensure!(
        summary.contains("REASON") && summary.contains("USER   DENIALS\nadmin  2\n"),
        "{summary}"
    );

    // All namespaces hold more than one does.
    let output = command(cluster, &["-A", "-o", "json"])
        .output()
        .await?;
    let all: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    ensure!(all.len() >= 2, "{all:?}");
    let output = command(cluster, &["--reason=Whatever"])
        .output()
        .await?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    let output = command(cluster, &["--namespace=empty"])
        .output()
        .await?;
    ensure!(
        String::from_utf8(output.stderr)?
            .contains("hint: list all namespaces with --all-namespaces"),
        "an empty list says nothing"
    );
    Ok(())
}

async fn a_list_that_is_watched_goes_on_with_what_is_refused(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("watched").await?;
    refuse(&ns, "before", "Custom").await?;
    rejection(&ns, "before", "to be written", |_| true).await?;
    let mut child = command(
        cluster,
        &["--watch", "--output=json", "--namespace", &ns.name],
    )
    .stdout(Stdio::piped())
    .spawn()?;
    let stdout = child
        .stdout
        .take()
        .context("stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut next = async || -> anyhow::Result<Value> {
        let line = timeout(LIMIT, lines.next_line())
            .await
            .context("no line came")??
            .context("it ended")?;
        Ok(serde_json::from_str(&line)?)
    };
    ensure!(next().await?["spec"]["object"]["name"] == "before");
    refuse(&ns, "while", "Custom").await?;
    ensure!(next().await?["spec"]["object"]["name"] == "while");
    refuse(&ns, "while", "Custom").await?;
    let again = next().await?;
    ensure!(again["spec"]["count"] == 2, "{again}");
    child.kill().await?;
    Ok(())
}
