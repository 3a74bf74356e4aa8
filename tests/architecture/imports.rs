//! The imports of `src/`, file by file, as far as `use`, `crate::` and `super::` tell them. Tests do not
//! count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;

/// The files of a crate by the names of their modules (`server::tls`), and what each imports.
pub(crate) struct Imports {
    sources: BTreeMap<String, String>,
    uses: BTreeMap<String, Vec<Use>>,
}

/// One path that a file names.
struct Use {
    path: Vec<String>,
    is_public: bool,
}

impl Imports {
    /// Reads every file below `src/`.
    pub(crate) fn read(src: &Path) -> Self {
        let mut sources = BTreeMap::new();
        read_folder(src, src, &mut sources);
        let uses = sources
            .iter()
            .map(|(module, source)| (module.clone(), uses(module, source, &sources)))
            .collect();
        Self { sources, uses }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources
            .iter()
            .map(|(module, source)| (module.as_str(), source.as_str()))
    }

    /// Each pair of files of which the first imports the second. A re-export is followed to the file
    /// that has the thing; the root of the crate does not count.
    pub(crate) fn edges(&self) -> BTreeSet<(&str, &str)> {
        let mut edges = BTreeSet::new();
        for (module, uses) in &self.uses {
            for Use { path, is_public } in uses {
                let Some(target) = self.resolve(path, 0) else {
                    continue;
                };
                // A room passes on what stands in its own files.
                let passes_on = *is_public && target.starts_with(&format!("{module}::"));
                if !passes_on && target != module && !target.is_empty() && !module.is_empty() {
                    edges.insert((module.as_str(), target));
                }
            }
        }
        edges
    }

    /// The sets of files that reach each other.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in self.edges() {
            next.entry(from).or_default().insert(to);
        }
        let reached = |from: &str| {
            let mut reached = BTreeSet::new();
            let mut open = vec![from];
            while let Some(file) = open.pop() {
                for &to in next.get(file).into_iter().flatten() {
                    if reached.insert(to) {
                        open.push(to);
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> = next
            .keys()
            .map(|&file| (file, reached(file)))
            .collect();
        let circles: BTreeSet<Vec<&str>> = reached
            .iter()
            .filter(|(file, from_it)| from_it.contains(*file))
            .map(|(file, from_it)| {
                from_it
                    .iter()
                    .filter(|other| {
                        reached
                            .get(*other)
                            .is_some_and(|back| back.contains(file))
                    })
                    .copied()
                    .collect()
            })
            .collect();
        circles.into_iter().collect()
    }

    fn resolve(&self, path: &[String], depth: usize) -> Option<&str> {
        for length in (0..=path.len()).rev() {
            let module = path[..length].join("::");
            let Some((module, _)) = self.sources.get_key_value(&module) else {
                continue;
            };
            let name = path.get(length);
            let passed_on = self.uses[module].iter().find(|passed| {
                passed.is_public && passed.path.last() == name && passed.path != path
            });
            return match passed_on {
                Some(passed) if depth < 8 => self.resolve(&passed.path, depth + 1),
                _ => Some(module),
            };
        }
        None
    }
}

fn read_folder(src: &Path, folder: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .map(Result::unwrap)
    {
        let path = entry.path();
        let name = entry
            .file_name()
            .into_string()
            .expect("UTF-8");
        if path.is_dir() {
            if name != "tests" && name != "snapshots" {
                read_folder(src, &path, sources);
            }
        } else if let Some(stem) = name.strip_suffix(".rs")
            && !matches!(stem, "tests" | "fake_api" | "fixtures")
        {
            let mut parts: Vec<_> = folder
                .strip_prefix(src)
                .expect("below src")
                .iter()
                .map(|part| part.to_str().expect("UTF-8"))
                .collect();
            if !matches!(stem, "mod" | "lib" | "main") {
                parts.push(stem);
            }
            let source = fs::read_to_string(&path).expect("UTF-8");
            sources
                .entry(parts.join("::"))
                .or_default()
                .push_str(&without_tests(&source));
        }
    }
}

/// Leaves out comments and the tests at the end of a file.
fn without_tests(source: &str) -> String {
    let tests = Regex::new(
        r"(?ms)^#\[cfg\(test\)\]\s*\n(?:#\[[^\n]*\n)*(pub\(crate\) )?mod \w+( \{.*?^\}|;)",
    )
    .expect("a pattern");
    let comments = Regex::new(r"//[^\n]*").expect("a pattern");
    comments
        .replace_all(&tests.replace_all(source, ""), "")
        .into_owned()
}

fn uses(module: &str, source: &str, sources: &BTreeMap<String, String>) -> Vec<Use> {
    let statement =
        Regex::new(r"(?m)^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").expect("a pattern");
    let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").expect("a pattern");
    let mut uses = Vec::new();
    for found in statement.captures_iter(source) {
        let is_public = found.get(1).is_some();
        let mut paths = Vec::new();
        expand("", &found[2], &mut paths);
        uses.extend(paths.iter().filter_map(|path| {
            let path = absolute(module, path, sources)?;
            Some(Use { path, is_public })
        }));
    }
    for found in inline.find_iter(&statement.replace_all(source, "")) {
        uses.extend(absolute(module, found.as_str(), sources).map(|path| Use {
            path,
            is_public: false,
        }));
    }
    uses
}

/// Writes out `a::{b, c::{d, e}}`.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree
            .split(" as ")
            .next()
            .unwrap_or(tree);
        paths.push(format!("{before}{}", path.trim()));
        return;
    };
    let before = format!("{before}{}", &tree[..open]);
    let inner = tree[open + 1..]
        .trim_end()
        .trim_end_matches('}');
    // The last brace closes this group; what `trim_end_matches` took too much of is given back.
    let missing = inner
        .matches('{')
        .count()
        .saturating_sub(inner.matches('}').count());
    let inner = format!("{inner}{}", "}".repeat(missing));
    let (mut depth, mut from) = (0_usize, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inner[from..at], paths);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        expand(&before, &inner[from..], paths);
    }
}

/// The path from the root of the crate; none for another crate's.
fn absolute(module: &str, path: &str, sources: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let parts: Vec<&str> = path.split("::").collect();
    let here: Vec<&str> = module
        .split("::")
        .filter(|part| !part.is_empty())
        .collect();
    let supers = parts
        .iter()
        .take_while(|part| **part == "super")
        .count();
    let (base, rest) = match parts[0] {
        "crate" => (&here[..0], &parts[1..]),
        "self" => (&here[..], &parts[1..]),
        "super" => (&here[..here.len().checked_sub(supers)?], &parts[supers..]),
        first => {
            let child = [&here[..], &[first]]
                .concat()
                .join("::");
            if !sources.contains_key(&child) {
                return None;
            }
            (&here[..], &parts[..])
        }
    };
    let path = base.iter().chain(rest);
    Some(
        path.map(|&part| part.to_owned())
            .collect(),
    )
}
