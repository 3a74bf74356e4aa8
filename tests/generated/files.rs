//! Files, and parts of files, that are written from the tables of the program.

use std::{
    env, fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Set to anything but nothing, the files are written; else they are compared.
const VARIABLE: &str = "AGENTKUBE_GENERATE";

/// One test at a time: several hold parts of the same file.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Holds a file of the repository to the text that it has to have.
pub(crate) fn hold_file(path: &str, expected: &str) {
    // A test that failed has left nothing half done.
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    compare_or_write(path, expected);
}

/// Holds the part of a file between the two marks of this name to the text that it has to have.
///
/// The marks are lines of their own, which contain `generated: NAME` and `end of NAME`, in whatever is a
/// comment there. They stay as they are.
pub(crate) fn hold_block(path: &str, name: &str, expected: &str) {
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let found = fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    compare_or_write(path, &with_block(path, &found, name, expected));
}

fn compare_or_write(path: &str, expected: &str) {
    let file = at(path);
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == expected {
        return;
    }
    if is_writing() {
        fs::write(&file, expected).unwrap_or_else(|error| panic!("{path}: {error}"));
    } else {
        panic!("{path} is stale: run `.ci/generate`");
    }
}

/// A Markdown table.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = line(&head.map(str::to_owned)) + &format!("|{}\n", "---|".repeat(N));
    head + &rows
        .into_iter()
        .map(|row| line(&row))
        .collect::<String>()
}

fn with_block(path: &str, found: &str, name: &str, expected: &str) -> String {
    let line_of = |mark: String| {
        found
            .lines()
            .position(|line| line.contains(&mark))
            .unwrap_or_else(|| panic!("{path} has no line with `{mark}`"))
    };
    let begin = line_of(format!("generated: {name}"));
    let end = line_of(format!("end of {name}"));
    assert!(
        begin < end,
        "{path}: the marks of {name} are in the wrong order"
    );
    let lines: Vec<&str> = found.lines().collect();
    let mut text = lines[..=begin].to_vec();
    text.extend(expected.trim_end_matches('\n').lines());
    text.extend(&lines[end..]);
    text.join("\n") + "\n"
}

fn is_writing() -> bool {
    env::var(VARIABLE).is_ok_and(|value| !value.is_empty())
}

fn at(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn what_stands_between_the_marks_is_exchanged_and_nothing_else() {
    let page = "a\n<!-- generated: rows -->\nold\nolder\n<!-- end of rows -->\nb\n";
    let expected = "a\n<!-- generated: rows -->\nnew\n<!-- end of rows -->\nb\n";
    assert_eq!(with_block("page", page, "rows", "new\n"), expected);
    assert_eq!(with_block("page", expected, "rows", "new"), expected);
}
