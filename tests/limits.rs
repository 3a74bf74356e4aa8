//! `docs/limits.md` says what the source says.

#![cfg(test)]

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use agentkube::{
    admission::{LONGEST_FIELD_BYTES, LONGEST_LIST_BYTES, MOST_ENTRIES},
    api::{self, LONGEST_GOAL_BYTES, LONGEST_SPEC_BYTES, MOST_PULL_SECRETS},
    offline::LONGEST_DOCUMENT,
    rejections::{LONGEST_REJECTION, NEW_REJECTIONS, Retention, WRITTEN_BYTES},
    server::{
        Limits, body,
        connections::connection::{HEAD_LIMIT_BYTES, MOST_HEADERS, UNREAD_LIMIT_BYTES},
        webhook::questions::CONCURRENT_QUESTIONS,
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

/// By what name a limit stands in the file that its row names: that of a constant, of a field or of a flag.
/// With a blank in it, it is what stands there word for word.
const NAMES: [(&str, &str); 41] = [
    ("connections", "connections"),
    ("time for a handshake", "handshake"),
    ("time for a request's head", "head"),
    ("time without a request", "idle"),
    ("head", "HEAD_LIMIT_BYTES"),
    ("headers", "MOST_HEADERS"),
    ("body", "LIMIT_BYTES"),
    ("time for a body", "TIME_LIMIT"),
    ("a body's own memory", "OWN_BYTES"),
    ("memory that larger bodies share", "SHARED_BYTES"),
    ("reviews being answered", "CONCURRENT_REVIEWS"),
    (
        "reviews of more than 64 KiB being answered",
        "LARGE_REVIEWS",
    ),
    (
        "questions to the API server at a time: rights of authors, Agents and Tools that are not known yet",
        "CONCURRENT_QUESTIONS",
    ),
    ("answers that are not read", "UNREAD_LIMIT_BYTES"),
    (
        "containers, init containers, ephemeral containers, volumes, pull secrets of a pod",
        "MOST_ENTRIES",
    ),
    ("a judged field of an Agent or Tool", "LONGEST_FIELD_BYTES"),
    (
        "the spec of an Agent or Tool, as JSON without spaces",
        "LONGEST_SPEC_BYTES",
    ),
    ("the pull secrets of an Agent", "LONGEST_LIST_BYTES"),
    ("how many pull secrets an Agent has", "MOST_PULL_SECRETS"),
    ("the name of an Agent", "metadata.name.size() <= 63"),
    (
        "the spec of an Agent or Tool that the leader keeps, as JSON",
        "LONGEST_KEPT_BYTES",
    ),
    ("an object of a list", "LONGEST_ITEM_BYTES"),
    ("per namespace", "rejections_per_namespace"),
    ("of all namespaces together", "in_all"),
    (
        "new to a replica, of all namespaces together",
        "NEW_REJECTIONS",
    ),
    ("written by a replica", "WRITTEN_BYTES"),
    ("a Rejection as a whole", "LONGEST_REJECTION"),
    ("age", "rejections_max_age"),
    ("waiting to be written", "MOST"),
    ("memory of what waits", "MOST_BYTES"),
    ("the submitted spec", "LONGEST"),
    ("names in it", "LONGEST_NAME"),
    ("a message in it", "LONGEST_MESSAGE"),
    (
        "objects whose Events are remembered, so that repeats are counted",
        "MOST",
    ),
    (
        "failures remembered for a minute, so that each is logged once",
        "MOST_SAID",
    ),
    ("pauses of a watch that fails", "LONGEST_PAUSE"),
    ("a file of `agentkube review`", "LARGEST_FILE"),
    ("a document of a file", "LONGEST_DOCUMENT"),
    ("documents of a file", "MOST_DOCUMENTS"),
    (
        "an answer of a registry, for `agentkube images check`",
        "BODY_MAX",
    ),
    ("redirects of a registry", "REDIRECTS"),
];

/// Limits that are no number of a file: a library's, of what is computed, or of how something is made.
const NO_NUMBERS: [&str; 5] = [
    "deadline",
    "nesting of what is judged",
    "objects of a list that are held whole",
    "an object that this version cannot read",
    "memory after 10,000 Agents were created, changed and deleted",
];

fn without_visibility(line: &str) -> &str {
    let Some(line) = line.strip_prefix("pub") else {
        return line;
    };
    line.strip_prefix('(')
        .and_then(|line| line.split_once(')'))
        .map_or(line, |(_, line)| line)
        .trim_start()
}

/// What a constant, a field or a flag is set to, wherever that is in a source file.
fn set_to<'s>(source: &'s str, name: &str) -> Vec<&'s str> {
    if name.contains(' ') {
        let found = source.find(name);
        return found
            .map(|at| &source[at..at + name.len()])
            .into_iter()
            .collect();
    }
    let name = format!("{name}: ");
    let mut before = "";
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        let line = without_visibility(line);
        let item = line
            .strip_prefix("const ")
            .and_then(|item| item.strip_prefix(&name));
        if let Some(item) = item {
            found.extend(
                item.split_once(" = ")
                    .map(|(_, value)| value),
            );
        } else if let Some(field) = line.strip_prefix(&name) {
            found.push(match before.split_once("default_value") {
                Some((_, default)) => default
                    .split(", value_")
                    .next()
                    .unwrap(),
                None => field,
            });
        }
        before = line;
    }
    found
}

/// The numbers of an expression, each in all the ways that the page may write it.
fn numbers(expression: &str) -> Vec<Vec<String>> {
    expression
        .split(", ")
        .filter_map(|part| {
            let mut factors = part
                .split(|letter: char| !(letter.is_ascii_alphanumeric() || "_<".contains(letter)))
                .filter(|word| !word.is_empty());
            let mut number: Option<usize> = None;
            let mut unit = "";
            while let Some(word) = factors.next() {
                let factor = word
                    .trim_end_matches('d')
                    .replace('_', "");
                match (word, factor.parse::<usize>()) {
                    ("<<", _) => {
                        let bits: usize = factors.next().unwrap().parse().unwrap();
                        number = number.map(|number| number << bits);
                    }
                    (_, Ok(factor)) => {
                        number = Some(number.unwrap_or(1) * factor);
                        if word.ends_with('d') {
                            unit = "d";
                        }
                    }
                    ("from_secs", _) => unit = " s",
                    _ => {}
                }
            }
            let number = number?;
            let mut ways = vec![format!("{number}{unit}")];
            if unit.is_empty() {
                ways.push(with_commas(number));
            }
            if unit.is_empty() && number.is_multiple_of(1 << 10) {
                ways.push(size(number));
            }
            Some(ways)
        })
        .collect()
}

fn with_commas(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", with_commas(number / 1000), number % 1000),
    }
}

/// Whether a number stands in a text by itself, and not as a part of another one.
fn says(text: &str, number: &str) -> bool {
    text.match_indices(number)
        .any(|(at, _)| {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || ",.".contains(letter);
            let (before, after) = (&text[..at], &text[at + number.len()..]);
            let follows = after.trim_start_matches([',', '.']);
            !before.ends_with(is_part)
                && !follows.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        })
}

#[test]
fn every_row_has_the_number_that_stands_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for cells in rows() {
        let (limit, text) = (cells[0], format!("{} {}", cells[0], cells[1]));
        if NO_NUMBERS.contains(&limit) {
            continue;
        }
        let (_, name) = NAMES
            .iter()
            .find(|(known, _)| *known == limit)
            .unwrap_or_else(|| unreachable!("by what name does {limit:?} stand in its file?"));
        let file = code(cells[2]).next().unwrap();
        let source = fs::read_to_string(root.join(file)).unwrap();
        let mut found = set_to(&source, name)
            .into_iter()
            .map(numbers)
            .filter(|numbers| !numbers.is_empty())
            .peekable();
        assert!(found.peek().is_some(), "{limit}: {file} sets no {name}");
        let numbers: Vec<_> = found.collect();
        assert!(
            numbers.iter().any(|numbers| {
                numbers.iter().all(|ways| {
                    ways.iter()
                        .any(|number| says(&text, number))
                })
            }),
            "{text}: {file} has {numbers:?} for {name}"
        );
    }
    // Each of them is there.
    for limit in NAMES
        .map(|(limit, _)| limit)
        .into_iter()
        .chain(NO_NUMBERS)
    {
        value(limit);
    }
}

#[test]
fn numbers_are_read_as_they_are_written() {
    for (expression, expected) in [
        ("512,", "512"),
        ("16 * 1024;", "16 KiB"),
        ("4 << 20;", "4 MiB"),
        ("100_000;", "100,000"),
        ("Duration::from_secs(10),", "10 s"),
        (" = \"30d\"", "30d"),
        ("_t = 200", "200"),
        ("metadata.name.size() <= 63", "63"),
    ] {
        let ways = numbers(expression);
        assert!(
            ways.len() == 1
                && ways[0]
                    .iter()
                    .any(|way| way == expected),
            "{expression}: {ways:?}"
        );
    }
    assert_eq!(numbers("(8 * 1024 * 1024, 64 * 1024);").len(), 2);
    assert!(numbers("usize,").is_empty() && numbers("u16,").is_empty());
    assert!(says("5 s, or less", "5 s") && says("1024 each", "1024"));
    for (text, number) in [
        ("15 s", "5 s"),
        ("5 s", "5 sec"),
        ("1,000", "1"),
        ("0.8 s", "8 s"),
    ] {
        assert!(!says(text, number), "{text}: {number}");
    }
}

#[test]
fn what_other_pages_say_of_limits_is_the_same() {
    const MONITORING: &str = include_str!("../docs/monitoring.md");
    for words in ["because 256 were in flight", "a replica had 256 in flight"] {
        assert!(words.contains(&CONCURRENT_REVIEWS.to_string()));
        assert!(MONITORING.contains(words), "{words}");
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
