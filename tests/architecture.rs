//! The map in ARCHITECTURE.md is true: rooms import what it says and nothing else, no files import each
//! other in a circle, and the pure rooms name nothing that is not pure. The folders of the playground have
//! a table of the same kind.

#![cfg(test)]

#[path = "architecture/imports.rs"]
mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use imports::Imports;

static IMPORTS: LazyLock<Imports> = LazyLock::new(|| Imports::read(&root().join("src")));

/// What a pure room does not name: a runtime, a client, a clock, the environment, files, the network,
/// the command line.
const IMPURE: [&str; 13] = [
    "tokio",
    "futures",
    "Client",
    "Api<",
    "std::time",
    "Instant",
    "Timestamp::now",
    "std::env",
    "env::var",
    "std::fs",
    "std::net",
    "clap",
    "RandomState",
];

/// Where a pure room names one of these all the same, and why that is harmless.
const EXCUSED: [(&str, &str, &str); 1] = [(
    "admission::specs::spec",
    "RandomState",
    "keys of fingerprints that are only compared with each other, within one process",
)];

/// The table `| room | may import | pure |` of ARCHITECTURE.md.
fn map() -> BTreeMap<String, (BTreeSet<String>, bool)> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let rows: BTreeMap<_, _> = page
        .lines()
        .skip_while(|line| !line.starts_with("| room | may import"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line
                .trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect();
            let names = |cell: &str| {
                cell.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect::<BTreeSet<_>>()
            };
            let room = cells[0].trim_matches('`').to_owned();
            (room, (names(cells[1]), cells[2] == "yes"))
        })
        .collect();
    assert!(rows.len() > 10, "the table of rooms is not where it was");
    rows
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn room(file: &str) -> &str {
    file.split("::").next().unwrap_or(file)
}

#[test]
fn rooms_import_what_the_map_says_and_nothing_else() {
    let map = map();
    let imports = &*IMPORTS;
    let mut found: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (from, to) in imports.edges() {
        if room(from) != room(to) {
            found
                .entry(room(from))
                .or_default()
                .insert(room(to), format!("src/{}", from.replace("::", "/")));
        }
    }
    for (from, targets) in &found {
        let (allowed, _) = map
            .get(*from)
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no room `{from}`"));
        for (to, place) in targets {
            assert!(
                allowed.contains(*to),
                "`{from}` imports `{to}` in {place}, which the table of ARCHITECTURE.md does not allow"
            );
        }
    }
    for (from, (allowed, _)) in &map {
        for to in allowed {
            let is_used = found
                .get(from.as_str())
                .is_some_and(|to_rooms| to_rooms.contains_key(to.as_str()));
            assert!(
                is_used,
                "ARCHITECTURE.md lets `{from}` import `{to}`, and it does not"
            );
        }
    }
}

#[test]
fn no_room_imports_one_that_imports_it() {
    let map = map();
    let mut order: Vec<&String> = Vec::new();
    while order.len() < map.len() {
        let next: Vec<_> = map
            .iter()
            .filter(|(room, (below, _))| {
                !order.contains(room)
                    && below
                        .iter()
                        .all(|below| order.contains(&below))
            })
            .map(|(room, _)| room)
            .collect();
        assert!(
            !next.is_empty(),
            "the rooms beside {order:?} import each other"
        );
        order.extend(next);
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = &*IMPORTS;
    let circles = imports.circles();
    assert!(
        circles.is_empty(),
        "these files import each other: {circles:#?}"
    );
}

#[test]
fn pure_rooms_name_nothing_that_is_not_pure() {
    let map = map();
    let imports = &*IMPORTS;
    for (file, source) in imports.sources() {
        if !map
            .get(room(file))
            .is_some_and(|(_, is_pure)| *is_pure)
        {
            continue;
        }
        for word in IMPURE {
            let is_excused = EXCUSED
                .iter()
                .any(|(place, excused, _)| *place == file && *excused == word);
            assert!(
                is_excused || !names(source, word),
                "`{file}` is in a pure room, and names `{word}`"
            );
        }
    }
}

/// Whether a source has the word, and not as a part of a longer one.
fn names(source: &str, word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    source
        .match_indices(word)
        .any(|(at, _)| {
            let before = at
                .checked_sub(1)
                .map(|at| source.as_bytes()[at]);
            let after = source
                .as_bytes()
                .get(at + word.len())
                .copied();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

/// The table `| folder | imports |` in the comment of the playground's `lib.rs`.
fn folders_of_the_playground() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("tests/playground/src/lib.rs")).expect("UTF-8");
    let names = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    page.lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .filter_map(|row| row.split_once(" | "))
        .flat_map(|(folders, imports)| {
            let imports: BTreeSet<_> = names(imports).into_iter().collect();
            names(&format!("`{folders}"))
                .into_iter()
                .map(move |folder| (folder, imports.clone()))
        })
        .filter(|(_, imports)| !imports.is_empty())
        .collect()
}

#[test]
fn folders_of_the_playground_import_what_their_table_says_and_no_files_in_a_circle() {
    let imports = Imports::read(&root().join("tests/playground/src"));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in imports.edges() {
        let (from, to) = (room(from), room(to));
        if from != to {
            found
                .entry(from.to_owned())
                .or_default()
                .insert(to.to_owned());
        }
    }
    assert_eq!(found, folders_of_the_playground());
    let circles = imports.circles();
    assert!(
        circles.is_empty(),
        "these files import each other: {circles:#?}"
    );
}
