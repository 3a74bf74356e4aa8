//! `docs/limits.md` says what the source says.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use agentkube::{
    admission::{LONGEST_FIELD_BYTES, LONGEST_LIST_BYTES, MOST_ENTRIES},
    api::{self, LONGEST_GOAL_BYTES, LONGEST_SPEC_BYTES, MOST_PULL_SECRETS},
    audit::{LONGEST_REJECTION, NEW_REJECTIONS, Retention, WRITTEN_BYTES},
    review::LONGEST_DOCUMENT,
    server::{
        Limits, body,
        connection::{HEAD_LIMIT_BYTES, MOST_HEADERS, UNREAD_LIMIT_BYTES},
        questions::CONCURRENT_QUESTIONS,
        webhook::{CONCURRENT_REVIEWS, LARGE_REVIEWS},
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

const PAGE: &str = include_str!("../docs/limits.md");

/// The rows of all tables, as cells.
fn rows() -> Vec<Vec<&'static str>> {
    PAGE.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| limit "))
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .filter(|cells| cells.len() == 5)
        .collect()
}

fn value(limit: &str) -> &'static str {
    rows()
        .iter()
        .find(|cells| cells[0] == limit)
        .unwrap_or_else(|| unreachable!("there is no row {limit:?}"))[1]
}

/// What stands in backticks.
fn code(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('`').skip(1).step_by(2)
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

fn rate((most, per_second): (u32, u32), words: impl Fn(usize) -> String) -> String {
    let [most, per_second] = [most, per_second].map(|number| usize::try_from(number).unwrap());
    format!(
        "{} at once, {} a second in the long run",
        words(most),
        words(per_second)
    )
}

fn time(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// Every source file of the crate and its tests, in one.
fn sources(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path
            .extension()
            .is_some_and(|it| it == "rs")
        {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_value_is_the_one_in_the_source() {
    let limits = Limits::webhook(Duration::ZERO);
    for (limit, expected) in [
        ("connections", limits.connections.to_string()),
        ("time for a handshake", time(limits.handshake)),
        ("time for a request's head", time(limits.head)),
        ("time without a request", time(limits.idle)),
        ("head", size(HEAD_LIMIT_BYTES)),
        ("headers", MOST_HEADERS.to_string()),
        ("body", size(body::LIMIT_BYTES)),
        (
            "time for a body",
            format!(
                "{}, or the deadline if that is earlier",
                time(body::TIME_LIMIT)
            ),
        ),
        ("a body's own memory", size(body::OWN_BYTES)),
        ("memory that larger bodies share", size(body::SHARED_BYTES)),
        ("reviews being answered", CONCURRENT_REVIEWS.to_string()),
        (
            "reviews of more than 64 KiB being answered",
            LARGE_REVIEWS.to_string(),
        ),
        (
            "questions to the API server at a time: rights of authors, Agents and Tools that are not known yet",
            CONCURRENT_QUESTIONS.to_string(),
        ),
        ("answers that are not read", size(UNREAD_LIMIT_BYTES)),
        (
            "containers, init containers, ephemeral containers, volumes, pull secrets of a pod",
            format!("{MOST_ENTRIES} each"),
        ),
        (
            "a judged field of an Agent or Tool",
            size(LONGEST_FIELD_BYTES),
        ),
        (
            "the spec of an Agent or Tool, as JSON without spaces",
            size(LONGEST_SPEC_BYTES),
        ),
        ("the pull secrets of an Agent", size(LONGEST_LIST_BYTES)),
        (
            "of all namespaces together",
            Retention::default().in_all.to_string(),
        ),
        (
            "new to a replica, of all namespaces together",
            rate(NEW_REJECTIONS, |number| number.to_string()),
        ),
        ("written by a replica", rate(WRITTEN_BYTES, size)),
        ("a Rejection as a whole", size(LONGEST_REJECTION)),
        (
            "how many pull secrets an Agent has",
            MOST_PULL_SECRETS.to_string(),
        ),
        ("a document of a file", size(LONGEST_DOCUMENT)),
    ] {
        assert_eq!(value(limit), expected, "{limit}");
    }
}

/// Reviews that wait for nobody but us must leave a connection that can be ended for a new one.
#[test]
fn there_are_more_connections_than_reviews_that_are_answered() {
    assert!(CONCURRENT_REVIEWS < Limits::webhook(Duration::ZERO).connections);
}

#[test]
fn every_row_names_files_and_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    sources(&root.join("tests"), &mut text);
    let rows = rows();
    assert!(rows.len() > 20, "the tables are read");
    for cells in rows {
        for file in code(cells[2]) {
            assert!(root.join(file).is_file(), "{file}");
        }
        let tests: Vec<_> = code(cells[4]).collect();
        assert!(!tests.is_empty(), "{} has no test", cells[0]);
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "{test} is not there");
        }
    }
}

/// A row for each text, list and map of a schema.
fn fields(path: &str, schema: &JSONSchemaProps, into: &mut String) {
    let mut row = |unit: &str, most: Option<i64>| {
        if let Some(most) = most {
            writeln!(into, "| `{path}` | {most} {unit} |").unwrap();
        }
    };
    row("characters", schema.max_length);
    row("items", schema.max_items);
    row("members", schema.max_properties);
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        fields(&format!("{path}[]"), item, into);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        fields(&format!("{path}.*"), value, into);
    }
    for (name, property) in schema.properties.iter().flatten() {
        fields(&format!("{path}.{name}"), property, into);
    }
}

#[test]
fn the_table_of_fields_is_that_of_the_crds() {
    let mut expected = String::new();
    for kind in ["Agent", "Tool"] {
        let crd = api::crds()
            .into_iter()
            .find(|crd| crd.spec.names.kind == kind)
            .unwrap();
        writeln!(expected, "| {kind} | limit |\n|---|---|").unwrap();
        let schema = crd.spec.versions[0].schema.clone();
        let properties = schema
            .and_then(|schema| schema.open_api_v3_schema?.properties)
            .unwrap();
        fields("spec", &properties["spec"], &mut expected);
        expected.push('\n');
    }
    let written = PAGE
        .split_once("<!-- fields -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- /fields -->"))
        .map(|(table, _)| table)
        .unwrap();
    assert!(
        written == expected,
        "docs/limits.md should say:\n{expected}"
    );
}

#[test]
fn a_goal_is_shorter_than_what_a_process_can_be_started_with() {
    // `MAX_ARG_STRLEN` of Linux: name, `=`, value and a zero byte.
    const LONGEST_VARIABLE: usize = 128 * 1024;
    const { assert!("AGENTKUBE_AGENT_GOAL=".len() + LONGEST_GOAL_BYTES < LONGEST_VARIABLE) };
    const { assert!(LONGEST_GOAL_BYTES < LONGEST_SPEC_BYTES) };
    let crds = api::crds();
    let rules = format!("{crds:?}");
    assert!(rules.contains(&format!(
        "bytes(self.inline).size() <= {LONGEST_GOAL_BYTES}"
    )));
}
