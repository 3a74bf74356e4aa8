//! The parser of image references against the Go library that container runtimes use.
//!
//! `tests/reference-oracle` is that library behind a pipe. Its corpus, and random mutations of it,
//! must be read alike on both sides: accepted or refused, host, path, tag and digest.
//! `REFERENCE_SEED=<number>` repeats a run or tries another one.
//!
//! What the library says of the corpus, and of what fuzzing came up with, is recorded in
//! `answers.txt` beside it, where a fuzz target can look it up; `REFERENCE_RECORD=1` records it anew.

#![cfg(test)]

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use agentkube::images::ImageReference;

const MUTATIONS: usize = 40_000;
const DEFAULT_SEED: u64 = 2026;

#[test]
fn the_parser_reads_the_corpus_and_its_mutations_as_go_does() {
    let Some(oracle) = build_oracle() else { return };
    let seed = env::var("REFERENCE_SEED").map_or(DEFAULT_SEED, |seed| seed.parse().unwrap());
    println!("REFERENCE_SEED={seed}");

    let corpus = corpus();
    let mut random = Random(seed);
    let mutations: Vec<_> = (0..MUTATIONS)
        .map(|_| mutate(&corpus, &mut random))
        .collect();
    let texts: Vec<_> = corpus
        .iter()
        .chain(&mutations)
        .collect();
    let answers = ask(&oracle, &texts);
    assert_eq!(answers.len(), texts.len());

    let disagreements: Vec<_> = texts
        .iter()
        .zip(&answers)
        .map(|(text, go)| (text, go, read(text)))
        .filter(|(_, go, ours)| *go != ours)
        .map(|(text, go, ours)| format!("{text:?}\n  Go   {go:?}\n  ours {ours:?}"))
        .collect();
    assert!(
        disagreements.is_empty(),
        "REFERENCE_SEED={seed}: {} disagreements in {}\n{}",
        disagreements.len(),
        texts.len(),
        disagreements
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n"),
    );

    // Mutations that are nearly all refused, or all accepted, would prove little.
    let accepted = answers
        .iter()
        .filter(|answer| answer.accepted)
        .count();
    println!("{accepted} of {} accepted, no disagreements", texts.len());
    assert!(accepted > texts.len() / 10 && accepted < texts.len() * 9 / 10);
}

#[test]
fn the_recorded_answers_are_those_of_go() {
    let Some(oracle) = build_oracle() else { return };
    let mut texts = corpus();
    texts.extend(fuzzed());
    texts.sort_unstable();
    texts.dedup();
    let answers = ask(&oracle, &texts.iter().collect::<Vec<_>>());
    assert_eq!(answers.len(), texts.len());

    let mut lines = String::new();
    for (text, answer) in texts.into_iter().zip(answers) {
        lines += &serde_json::to_string(&Recorded { text, answer }).unwrap();
        lines += "\n";
    }
    let path = module().join("answers.txt");
    if env::var_os("REFERENCE_RECORD").is_some() {
        fs::write(&path, &lines).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == lines,
        "answers.txt is not what Go answers\nhint: run this test with REFERENCE_RECORD=1"
    );
}

#[test]
fn the_corpus_is_large_and_without_repetitions() {
    let mut corpus = corpus();
    let lines = corpus.len();
    assert!(lines >= 300, "{lines}");
    corpus.sort_unstable();
    corpus.dedup();
    assert_eq!(corpus.len(), lines);
}

/// What one side makes of a reference. All texts are empty where it is refused.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
struct Answer {
    accepted: bool,
    host: String,
    path: String,
    tag: String,
    digest: String,
}

#[derive(Serialize)]
struct Recorded {
    text: String,
    #[serde(flatten)]
    answer: Answer,
}

fn read(text: &str) -> Answer {
    text.parse::<ImageReference>()
        .map_or_else(
            |_| Answer::default(),
            |reference| Answer {
                accepted: true,
                host: reference.host().to_owned(),
                path: reference.path().to_owned(),
                tag: reference
                    .tag()
                    .unwrap_or_default()
                    .to_owned(),
                digest: reference
                    .digest()
                    .unwrap_or_default()
                    .to_owned(),
            },
        )
}

fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference-oracle")
}

fn corpus() -> Vec<String> {
    let text = fs::read_to_string(module().join("corpus.txt")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the fuzz target's corpus holds of texts.
fn fuzzed() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/reference");
    fs::read_dir(folder)
        .unwrap()
        .filter_map(|file| fs::read_to_string(file.unwrap().path()).ok())
        .collect()
}

/// The path of the oracle's binary, or `None` on a machine without Go.
fn build_oracle() -> Option<PathBuf> {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference-oracle");
    let build = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(module())
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .output();
    match build {
        Ok(output) => {
            let talk = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "`go build` of the oracle failed\n{talk}"
            );
            Some(binary)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "the reference parser was not checked, because `go` was not found";
            assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
            // Straight to the handle: what the macros print is hidden when a test passes.
            let text = format!("\nSKIPPED: {message}\nhint: install Go 1.26 or newer\n");
            io::stderr()
                .write_all(text.as_bytes())
                .unwrap();
            None
        }
        Err(error) => panic!("`go build` could not be started: {error}"),
    }
}

fn ask(oracle: &Path, texts: &[&String]) -> Vec<Answer> {
    let lines: Vec<_> = texts
        .iter()
        .map(|text| serde_json::to_string(text).unwrap())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let questions = folder.path().join("questions");
    fs::write(&questions, lines.join("\n")).unwrap();
    let output = Command::new(oracle)
        .stdin(File::open(&questions).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the oracle ended with {}",
        output.status
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A text of the corpus with one to three small changes, of the kind that moves it across a rule of
/// the grammar.
fn mutate(corpus: &[String], random: &mut Random) -> String {
    const ALPHABET: &[char] = &[
        'a', 'b', 'f', 'z', '0', '9', 'A', 'F', 'Z', '/', '/', ':', ':', '@', '.', '.', '_', '_',
        '-', '-', '[', ']', '%', '+', '=', ' ', '\t', '\n', '\0', '\u{7f}', 'é', 'É', 'ſ',
        '\u{212a}', '\u{661}', '\u{a0}', '🐳',
    ];
    const FRAGMENTS: &[&str] = &[
        "localhost",
        "docker.io/",
        "index.docker.io/",
        "library/",
        "[::1]",
        ":5000",
        ":5000/",
        ":latest",
        "://",
        "__",
        "..",
        "--",
        ".com/",
        "@sha256:",
        "@sha512:",
        "_x.y/",
        "Foo/",
    ];
    let mut text: Vec<char> = random.pick(corpus).chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() + 1);
        let end = (at + 1 + random.below(3)).min(text.len());
        match random.below(9) {
            0 | 1 => text.insert(at, *random.pick(ALPHABET)),
            2 => drop(text.drain(at..end)),
            3 if at < text.len() => text[at] = *random.pick(ALPHABET),
            4 => drop(text.splice(at..at, random.pick(FRAGMENTS).chars())),
            5 => {
                let repeated = text[at..end].to_vec();
                text.splice(at..at, repeated);
            }
            6 if at < text.len() => {
                let swapped = if text[at].is_ascii_uppercase() {
                    text[at].to_ascii_lowercase()
                } else {
                    text[at].to_ascii_uppercase()
                };
                text[at] = swapped;
            }
            7 if end < text.len() => text.swap(at, end),
            // The head of one and the tail of another: hosts, paths, tags and digests in new
            // company.
            _ => {
                let other: Vec<char> = random.pick(corpus).chars().collect();
                let cut = |text: &[char], random: &mut Random| {
                    let separators: Vec<_> = (0..text.len())
                        .filter(|&at| "/:@".contains(text[at]))
                        .collect();
                    if separators.is_empty() {
                        text.len()
                    } else {
                        *random.pick(&separators)
                    }
                };
                text.truncate(cut(&text, random));
                text.extend(&other[cut(&other, random)..]);
            }
        }
    }
    text.into_iter().collect()
}

/// `SplitMix64`: small, and the same everywhere for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
