//! Bodies that are well sent, and hard to read.

use std::time::Duration;

use agentkube::server::body::LIMIT_BYTES;
use anyhow::ensure;
use serde_json::json;

use super::{
    siege::{Ends, Siege, review, usual},
    wire::head,
};
use crate::{cluster::Cluster, direct::creation};

const LEVELS: usize = 100_000;

/// Where [`with`] puts what it is given.
const HOLE: &str = "@@@";

pub(super) async fn json_that_is_made_to_hurt(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    for (attack, body) in hurtful() {
        let ends = siege
            .withstand(attack, async |target| {
                Ends::of(40, 8, async |_| {
                    let mut wire = target.connect().await?;
                    wire.post("/mutate?timeout=5s", &body)
                        .await?;
                    let answer = wire.answer().await?;
                    // What is not understood is not repeated at length.
                    ensure!(answer.body.len() < 4096, "{} bytes", answer.body.len());
                    let verdict = if answer
                        .body
                        .contains(r#""allowed":false"#)
                    {
                        " (denied)"
                    } else {
                        ""
                    };
                    Ok(format!("{}{verdict}", answer.status))
                })
                .await
            })
            .await?;
        ends.only(&["200", "200 (denied)", "400"])?;
        ends.within(Duration::from_secs(1))?;
    }

    let ends = siege
        .withstand("gzip", async |target| {
            Ends::of(40, 8, async |_| {
                let mut wire = target.connect().await?;
                let mut request = head(
                    "/mutate",
                    "Content-Encoding: gzip\r\nContent-Length: 20\r\n",
                );
                request.extend([
                    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ]);
                wire.send(&request).await?;
                Ok(wire.end().await)
            })
            .await
        })
        .await?;
    ends.only(&["415"])
}

fn hurtful() -> Vec<(&'static str, Vec<u8>)> {
    let lists = "[".repeat(LEVELS) + &"]".repeat(LEVELS);
    let objects = "{\"a\":".repeat(LEVELS) + "1" + &"}".repeat(LEVELS);
    let digits = "9".repeat(100_000);
    let usual_text = String::from_utf8(usual()).expect("a review is UTF-8");
    let spec = |value: &str| agent(&format!(r#"{{"runtime":"Codex","unknown":{value}}}"#));
    vec![
        ("100,000 lists and nothing else", lists.clone().into_bytes()),
        (
            "100,000 objects in an unknown field of an Agent",
            spec(&objects),
        ),
        (
            "100,000 lists as a runtime",
            agent(&format!(r#"{{"runtime":{lists}}}"#)),
        ),
        (
            "60 lists as a runtime",
            agent(&format!(
                r#"{{"runtime":{}1{}}}"#,
                "[".repeat(60),
                "]".repeat(60)
            )),
        ),
        (
            "100,000 lists without an end",
            "[".repeat(LEVELS).into_bytes(),
        ),
        (
            "100,000 lists as the labels of a pod",
            pod("metadata", &format!(r#"{{"labels":{lists}}}"#)),
        ),
        (
            "100,000 lists in an unknown field of a pod",
            pod("spec", &format!(r#"{{"x":{lists}}}"#)),
        ),
        (
            "a number of 100,000 digits in an unknown field",
            spec(&digits),
        ),
        (
            "a number of 100,000 digits as a runtime",
            agent(&format!(r#"{{"runtime":{digits}}}"#)),
        ),
        ("1e999999 as a runtime", agent(r#"{"runtime":1e999999}"#)),
        (
            "duplicate keys in the review",
            usual_text
                .replacen("{\"", "{\"kind\":\"AdmissionReview\",\"", 1)
                .into_bytes(),
        ),
        (
            "duplicate keys in an Agent",
            agent(r#"{"runtime":"Codex","runtime":"Custom"}"#),
        ),
        (
            "invalid UTF-8 in a text",
            [b"{\"kind\":\"".as_slice(), b"\xff\xfe\xc0\x80", b"\"}"].concat(),
        ),
        (
            "invalid UTF-8 in an Agent",
            replaced(&spec("\"@@@@\""), b"@@@@", b"\xed\xa0\x80\xff"),
        ),
        ("half a surrogate", spec(r#""\ud800""#)),
        (
            "a name of zero bytes",
            agent(r#"{"runtime":"\u0000\u0000"}"#),
        ),
        ("nothing", Vec::new()),
    ]
}

/// The manager keeps some facts of what it reads, and a client may choose how many there are.
pub(super) async fn large_json_that_grows_in_memory(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let list = |entry: &str| {
        let count = (LIMIT_BYTES - 4096) / (entry.len() + 1);
        vec![entry; count].join(",")
    };
    let empty = list("{}");
    let container = list(r#"{"name":"c","image":"agentkube.invalid/nobody"}"#);
    let variables = list(r#"{"name":"OPENAI_API_KEY"}"#);
    let labels = list(r#""agentkube.io/x":"""#);
    for (attack, body) in [
        (
            "7 MiB of empty containers",
            pod("spec", &format!(r#"{{"containers":[{empty}]}}"#)),
        ),
        (
            "7 MiB of wrong placeholders",
            pod("spec", &format!(r#"{{"containers":[{container}]}}"#)),
        ),
        (
            "7 MiB of variables",
            pod(
                "spec",
                &format!(r#"{{"containers":[{{"env":[{empty}]}}]}}"#),
            ),
        ),
        (
            "7 MiB of tokens",
            pod(
                "spec",
                &format!(r#"{{"containers":[{{"env":[{variables}]}}]}}"#),
            ),
        ),
        (
            "7 MiB of volumes",
            pod("spec", &format!(r#"{{"volumes":[{empty}]}}"#)),
        ),
        (
            "7 MiB of labels",
            pod("metadata", &format!(r#"{{"labels":{{{labels}}}}}"#)),
        ),
        (
            "7 MiB of annotations",
            pod("metadata", &format!(r#"{{"annotations":{{{labels}}}}}"#)),
        ),
        (
            "7 MiB of lists as a runtime",
            agent(&format!(r#"{{"runtime":[{}]}}"#, list("[]"))),
        ),
        (
            "7 MiB of objects as a runtime",
            agent(&format!(r#"{{"runtime":[{}]}}"#, list(r#"{"":0}"#))),
        ),
        (
            "7 MiB of pull secrets of an Agent",
            agent(&format!(
                r#"{{"runtime":"Codex","imagePullSecrets":[{empty}]}}"#
            )),
        ),
        (
            "7 MiB in a spec that is refused",
            agent(&format!(r#"{{"runtime":"Custom","unknown":[{empty}]}}"#)),
        ),
    ] {
        let ends = siege
            .withstand(attack, async |target| {
                Ends::of(8, 2, async |_| {
                    let mut wire = target.connect().await?;
                    wire.post("/mutate?timeout=30s", &body)
                        .await?;
                    let answer = wire.answer().await?;
                    ensure!(answer.body.len() < 8192, "{} bytes", answer.body.len());
                    Ok(answer.status.to_string())
                })
                .await
            })
            .await?;
        ends.only(&["200", "503"])?;
        ensure!(ends.count("200") > 0, "{attack}: {ends}");
    }

    // As many as are read, each with a problem.
    let many = vec![r#"{"name":"c","image":"agentkube.invalid/nobody"}"#; 1024].join(",");
    let body = pod(
        "spec",
        &format!(r#"{{"containers":[{many}],"initContainers":[{many}]}}"#),
    );
    let ends = siege
        .withstand("2,048 containers with a problem each", async |target| {
            Ends::of(40, 8, async |_| {
                let mut wire = target.connect().await?;
                wire.post("/mutate", &body).await?;
                Ok(wire.end().await)
            })
            .await
        })
        .await?;
    ends.only(&["200"])
}

/// A review of an Agent with this spec.
fn agent(spec: &str) -> Vec<u8> {
    let request = creation("team", "odd", "alice", &json!(HOLE));
    with(&request, spec)
}

/// A review of a pod with this member.
fn pod(member: &str, value: &str) -> Vec<u8> {
    let mut request = creation("team", "odd", "alice", &json!({}));
    request["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
    request["resource"] = json!({"group": "", "version": "v1", "resource": "pods"});
    request["object"] = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}});
    request["object"][member] = json!(HOLE);
    with(&request, value)
}

fn with(request: &serde_json::Value, value: &str) -> Vec<u8> {
    let hole = format!("\"{HOLE}\"");
    replaced(&review(request), hole.as_bytes(), value.as_bytes())
}

fn replaced(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let start = text
        .windows(what.len())
        .position(|window| window == what)
        .expect("what is replaced is there");
    [&text[..start], by, &text[start + what.len()..]].concat()
}
