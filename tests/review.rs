//! `agentkube review`, as a shell sees it.

#![cfg(test)]

use std::{fs, path::Path, process::Output, time::Instant};

use assert_cmd::Command;
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

/// Files in a directory of their own, which is where commands run.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a directory"));
        for (path, text) in files {
            folder.write(path, text.as_bytes());
        }
        folder
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }

    fn review(&self, arguments: &[&str]) -> Output {
        self.review_stdin(arguments, "")
    }

    fn review_stdin(&self, arguments: &[&str], stdin: &str) -> Output {
        Command::cargo_bin("agentkube")
            .expect("the binary is built")
            .arg("review")
            .args(arguments)
            .env_clear()
            .current_dir(self.0.path())
            .write_stdin(stdin)
            .output()
            .expect("it runs")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("stdout is JSON")
}

const AGENT: &str = "\
apiVersion: agentkube.io/v1alpha1
kind: Agent
metadata: { name: fixer }
spec:
  runtime: Codex
  paused: false
  agentToken: { secretRef: { name: openai, key: token } }
  tools: [{ name: browser }]
";

const TOOL: &str = "\
apiVersion: agentkube.io/v1alpha1
kind: Tool
metadata: { name: browser }
spec: { type: custom, image: quay.io/team/browser }
";

const BAD: &str = "\
apiVersion: agentkube.io/v1alpha1
kind: Agent
metadata: { name: bad }
spec:
  runtime: Codx
  image: a b
";

const CRON_JOB: &str = "\
apiVersion: batch/v1
kind: CronJob
metadata: { name: nightly }
spec:
  jobTemplate:
    spec:
      template:
        metadata:
          labels: { agentkube.io/agent: fixer }
        spec:
          containers: [{ name: agent, image: agentkube.invalid/codex }]
";

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\n";

fn documents(documents: &[&str]) -> String {
    documents.join("---\n")
}

#[test]
fn the_report_says_what_was_decided_and_what_lower_rules_would_give() {
    let folder = Folder::new(&[
        ("good.yaml", &documents(&[AGENT, TOOL, CONFIG_MAP])),
        ("more/bad.yml", BAD),
        ("more/jobs.yaml", CRON_JOB),
        ("notes.txt", "no manifest"),
    ]);
    let output = folder.review(&[
        ".",
        "--set",
        "AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror",
        "--set",
        "AGENTKUBE_IMAGE_CODEX=quay.io/team/codex:v9",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert_snapshot!(out(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn json_has_every_field_of_every_object() {
    let folder = Folder::new(&[("a.yaml", &documents(&[AGENT, BAD, CRON_JOB]))]);
    let output = folder.review(&["a.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_json_snapshot!(json(&output));
}

#[test]
fn junit_has_a_case_an_object() {
    let folder = Folder::new(&[("a.yaml", &documents(&[AGENT, TOOL, BAD, "x: [\n"]))]);
    let output = folder.review(&["a.yaml", "--output", "junit"]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(out(&output));
}

#[test]
fn the_pods_that_would_run_can_be_applied() {
    let paused = AGENT
        .replace("fixer", "paused")
        .replace("paused: false", "paused: true");
    let folder = Folder::new(&[("a.yaml", &documents(&[AGENT, &paused, TOOL, BAD, CRON_JOB]))]);
    let output = folder.review(&["a.yaml", "--pods"]);
    assert_eq!(output.status.code(), Some(1));
    let pods: Vec<Value> = serde_saphyr::from_multiple(&out(&output)).expect("YAML");
    let names: Vec<_> = pods
        .iter()
        .map(|pod| {
            pod["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(names, ["fixer", "tool-browser", "nightly"]);
    assert!(
        pods.iter()
            .all(|pod| pod["kind"] == "Pod" && pod["apiVersion"] == "v1")
    );
    assert!(!out(&output).contains("agentkube.invalid"));
    assert!(
        err(&output).contains("5 objects: 4 allowed, 1 denied"),
        "{}",
        err(&output)
    );
}

#[test]
fn stdin_is_yaml_or_json() {
    let folder = Folder::new(&[]);
    for text in [
        AGENT.to_owned(),
        serde_saphyr::from_str::<Value>(AGENT)
            .expect("YAML")
            .to_string(),
    ] {
        let output = folder.review_stdin(&["-", "-o", "json"], &text);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(json(&output)[0]["file"], "-");
    }
}

#[test]
fn pods_are_resolved_against_what_is_admitted() {
    let denied = CRON_JOB
        .replace("fixer", "bad")
        .replace("nightly", "never");
    let folder = Folder::new(&[("a.yaml", &documents(&[CRON_JOB, &denied, BAD, AGENT]))]);
    let verdicts = json(&folder.review(&["a.yaml", "-o", "json"]));
    assert_eq!(verdicts[0]["decision"], "allow");
    assert_eq!(verdicts[0]["images"][0]["component"], "Codex");
    assert_eq!(verdicts[1]["causes"][0]["reason"], "UnknownAgent");
}

#[test]
fn namespaces_that_the_registrations_leave_out_are_left_out() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: kube-system }\n\
               spec: { containers: [{ name: a, image: agentkube.invalid/nothing }] }\n";
    let verdicts = json(&Folder::new(&[("a.yaml", pod)]).review(&["a.yaml", "-o", "json"]));
    assert_eq!(verdicts[0]["decision"], "allow");
    assert_eq!(verdicts[0]["patch"], serde_json::json!([]));
}

#[test]
fn settings_come_from_a_file_or_from_the_managers_deployment() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: m }\nspec: { template: { spec: { containers: [\
        { name: manager, env: [{ name: AGENTKUBE_IMAGE_CODEX, value: 'quay.io/of/manager:v1' }] }] } } }\n";
    let folder = Folder::new(&[
        ("a.yaml", AGENT),
        ("settings.env", "AGENTKUBE_IMAGE_CODEX=quay.io/of/file:v1\n"),
        ("manager.yaml", deployment),
    ]);
    for (arguments, image) in [
        (["--env-file", "settings.env"], "quay.io/of/file:v1"),
        (["--manager", "manager.yaml"], "quay.io/of/manager:v1"),
    ] {
        let output = folder.review(&[&["a.yaml", "-o", "json"], arguments.as_slice()].concat());
        assert_eq!(json(&output)[0]["images"][0]["image"], image);
    }
    let output = folder.review(&["a.yaml", "--set", "AGENTKUBE_IMAGE_CODXE=a/b"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("AGENTKUBE_IMAGE_CODEX"),
        "{}",
        err(&output)
    );
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_reviewed() {
    let folder = Folder::new(&[
        ("empty.yaml", ""),
        ("comment.yaml", "# nothing\n---\n"),
        (
            "tabs.yaml",
            "apiVersion: v1\nkind: Pod\nspec:\n\tcontainers: []\n",
        ),
        ("twice.yaml", "apiVersion: v1\nkind: Pod\nkind: Pod\n"),
        (
            "lists.yaml",
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: []}]}\n",
        ),
        ("broken.json", "{\"apiVersion\": \"v1\",\n"),
        ("values.yaml", "replicas: 2\n"),
        ("nothing/notes.md", ""),
        ("good.yaml", AGENT),
    ]);
    folder.write("latin1.yaml", b"kind: A\nname: caf\xe9\n");
    let output = folder.review(&[
        "empty.yaml",
        "comment.yaml",
        "tabs.yaml",
        "twice.yaml",
        "lists.yaml",
        "broken.json",
        "values.yaml",
        "nothing",
        "missing.yaml",
        "latin1.yaml",
        "good.yaml",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(err(&output));
    assert!(
        out(&output).ends_with("1 object: 1 allowed, 0 denied, 0 warnings, 10 could not be read\n")
    );
}

#[test]
fn files_without_end_are_refused() {
    let folder = Folder::new(&[]);
    let object = "x: 1\n---\n".repeat(11_200_000);
    folder.write("large.yaml", object.as_bytes());
    let start = Instant::now();
    let output = folder.review(&["large.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        err(&output),
        "error: large.yaml: larger than 64 MiB (hint: split it into several files)\n"
    );
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn a_thousand_agents_are_reviewed_in_their_order() {
    const COUNT: usize = 1_000;
    let runtimes = ["Aider", "ClaudeCode", "Codex", "Goose"];
    let agents: Vec<String> = (0..COUNT)
        .map(|number| {
            let runtime = runtimes[number % runtimes.len()];
            AGENT
                .replace("fixer", &format!("agent-{number}"))
                .replace("Codex", runtime)
        })
        .collect();
    let json = agents
        .iter()
        .map(|agent| {
            serde_saphyr::from_str::<Value>(agent)
                .expect("YAML")
                .to_string()
        })
        .collect::<Vec<_>>()
        .join("\n");
    let folder = Folder::new(&[("a.yaml", &agents.join("---\n")), ("a.json", &json)]);
    for file in ["a.yaml", "a.json"] {
        let output = folder.review(&[file]);
        let report = out(&output);
        let numbers: Vec<usize> = report
            .lines()
            .filter_map(|line| {
                line.split_once("Agent default/agent-")?
                    .1
                    .split_once(": allowed")
            })
            .map(|(number, _)| number.parse().expect("a number"))
            .collect();
        assert!(numbers.iter().copied().eq(0..COUNT), "{}", err(&output));
        assert!(report.ends_with("1000 objects: 1000 allowed, 0 denied, 0 warnings\n"));
    }
}

#[test]
fn credentials_are_never_repeated() {
    let token = "sk-ant-0123456789012345678901234567890";
    let text = format!(
        "apiVersion: agentkube.io/v1alpha1\nkind: Agent\nmetadata: {{ name: a }}\n\
         spec: {{ runtime: Codex, mode: {token}, paused: {token}, agentToken: {{ secretRef: {{ name: a, key: b }} }} }}\n"
    );
    let folder = Folder::new(&[("a.yaml", &text)]);
    for output in ["text", "json", "junit"] {
        let output = folder.review(&["a.yaml", "-o", output]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!out(&output).contains(token), "{}", out(&output));
    }
}

#[test]
fn what_a_terminal_would_obey_is_not_shown() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: { name: \"a\\e[2J\" }\nspec: { containers: \
                [{ name: \"b\\r\\e\", image: agentkube.invalid/codex }] }\n---\n\
                {\"\\e[31m\": 1, \"\\e[31m\": 2}\n";
    let folder = Folder::new(&[("a.yaml", text)]);
    let output = folder.review(&["a.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    for talk in [out(&output), err(&output)] {
        let is_obeyed = |character: char| character.is_control() && character != '\n';
        assert!(!talk.is_empty() && !talk.contains(is_obeyed), "{talk:?}");
    }
}

#[test]
fn the_shipped_samples_are_decided_as_they_are_meant() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples");
    let output = Folder::new(&[]).review(&["-o", "json", &samples.display().to_string()]);
    let verdicts = json(&output);
    for verdict in verdicts.as_array().expect("an array") {
        let is_meant = verdict["file"]
            .as_str()
            .is_some_and(|file| file.contains("/rejected/"));
        assert_eq!(verdict["decision"] == "deny", is_meant, "{verdict}");
    }
}

#[test]
fn help_shows_every_option() {
    assert_snapshot!(out(&Folder::new(&[]).review(&["--help"])));
}

#[test]
fn written_out_defaults_follow_the_levers_in_a_namespace_that_asks_for_it() {
    let pod = |namespace: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: {namespace} }}\n\
             spec: {{ containers: [{{ name: c, image: 'adaptivelive/codex:v0.2.0' }}] }}\n"
        )
    };
    let namespace = "apiVersion: v1\nkind: Namespace\n\
                     metadata: { name: asking, labels: { agentkube.io/rewrite-defaults: enabled } }\n";
    let text = format!("{namespace}{}{}", pod("asking"), pod("silent"));
    let folder = Folder::new(&[("pods.yaml", &text)]);
    let output = folder.review(&[
        "pods.yaml",
        "--set",
        "AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror",
    ]);
    assert_snapshot!(out(&output));
}
