use std::{
    env, fs,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::bail;

use super::{output, settings::SettingsArgs};
use crate::{
    admission::Policy,
    offline::{self, DocumentFormat, DocumentProblem, PartialVerdict, Reviewer, Verdict},
};

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// The deepest level of directories that is searched.
const DEEPEST: usize = 32;

/// The exit status if something was denied.
const DENIED: u8 = 1;
/// The exit status if something could not be read.
const UNREADABLE: u8 = 2;

/// Report what a cluster would decide about manifests, without a cluster.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Reviews Agents, Tools and Pods, and the pod templates of Deployments, StatefulSets, DaemonSets, Jobs \
and CronJobs. The settings are read from the environment unless an option names another source, see \
`agentkube manager --help`.

Exit status: 0 everything is allowed, 1 something is denied, 2 something could not be read

Example: `agentkube review manifests/ --manager manager.yaml`")]
pub(super) struct Args {
    /// Manifests as YAML or JSON: files, directories, or - for stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// Output format of the verdicts
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Print the pods that would run as YAML, and the verdicts on stderr
    #[arg(long, conflicts_with = "output")]
    pods: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// The output format of the verdicts.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Output {
    /// Human-readable
    #[default]
    Text,
    /// A JSON array
    Json,
    /// XML, for CI systems
    Junit,
}

/// Reviews manifests. Exit status: 0 everything is allowed, 1 something is denied, 2 something could not
/// be read.
pub(super) fn run(args: &Args) -> ExitCode {
    match review(args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::error(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}

fn review(args: &Args) -> anyhow::Result<u8> {
    let Args {
        paths,
        output,
        pods,
        settings,
    } = args;
    let policy: Policy = settings.policy()?;
    let reviewer = Reviewer::new(&policy, *pods);
    let mut documents: Vec<PartialVerdict> = Vec::new();
    let mut problems: Vec<DocumentProblem> = Vec::new();
    for path in paths {
        for document in read(path, &reviewer) {
            match document {
                Ok(document) => documents.push(document),
                Err(problem) => problems.push(problem),
            }
        }
    }
    let verdicts = reviewer.verdicts(documents);
    for problem in &problems {
        // Nothing can be reported once stderr is closed.
        let _ = writeln!(io::stderr(), "error: {problem}");
    }
    if *pods {
        output::data(&yaml(&verdicts)?)?;
        let text = offline::text(&verdicts, &problems, colour(io::stderr().is_terminal()));
        let _ = io::stderr().write_all(text.as_bytes());
    } else {
        output::data(&match output {
            Output::Text => offline::text(&verdicts, &problems, colour(io::stdout().is_terminal())),
            Output::Json => serde_json::to_string_pretty(&verdicts)? + "\n",
            Output::Junit => offline::junit(&verdicts, &problems),
        })?;
    }
    Ok(if !problems.is_empty() {
        UNREADABLE
    } else if verdicts.iter().any(Verdict::is_denied) {
        DENIED
    } else {
        0
    })
}

/// True if colour is used: on a terminal, unless the environment turns it off.
fn colour(is_terminal: bool) -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_terminal && !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn yaml(verdicts: &[Verdict]) -> anyhow::Result<String> {
    let mut text = String::new();
    for pod in verdicts
        .iter()
        .filter_map(|verdict| verdict.pod.as_ref())
    {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&pod.object())?);
    }
    Ok(text)
}

/// Reviews one path of the command line.
fn read(path: &Path, reviewer: &Reviewer<'_>) -> Vec<Result<PartialVerdict, DocumentProblem>> {
    let shown = path.display().to_string();
    if shown == "-" {
        return some(&shown, text(&shown, io::stdin().lock(), None, reviewer));
    }
    let is_directory = match fs::metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) => return vec![Err(problem(&shown, &cannot_read(&error)))],
    };
    if !is_directory {
        return some(&shown, file(path, reviewer));
    }
    let mut documents = Vec::new();
    match files(path, DEEPEST) {
        Ok(files) => documents.extend(
            files
                .iter()
                .flat_map(|path| file(path, reviewer)),
        ),
        Err(error) => return vec![Err(problem(&shown, &format!("{error:#}")))],
    }
    if documents.is_empty() {
        let message = "no manifests in this directory (hint: files that end in .yaml, .yml or .json are read)";
        return vec![Err(problem(&shown, message))];
    }
    documents
}

/// A file given on the command line must not be empty.
fn some(
    shown: &str,
    documents: Vec<Result<PartialVerdict, DocumentProblem>>,
) -> Vec<Result<PartialVerdict, DocumentProblem>> {
    if documents.is_empty() {
        return vec![Err(problem(shown, "no manifests in it"))];
    }
    documents
}

fn file(path: &Path, reviewer: &Reviewer<'_>) -> Vec<Result<PartialVerdict, DocumentProblem>> {
    let shown = path.display().to_string();
    match fs::File::open(path) {
        Ok(file) => text(
            &shown,
            file,
            path.extension()
                .and_then(|end| end.to_str()),
            reviewer,
        ),
        Err(error) => vec![Err(problem(&shown, &cannot_read(&error)))],
    }
}

fn text(
    shown: &str,
    source: impl Read,
    extension: Option<&str>,
    reviewer: &Reviewer<'_>,
) -> Vec<Result<PartialVerdict, DocumentProblem>> {
    let mut bytes = Vec::new();
    if let Err(error) = source
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
    {
        return vec![Err(problem(shown, &cannot_read(&error)))];
    }
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!(
            "larger than {} MiB (hint: split it into several files)",
            LARGEST_FILE / 1024 / 1024
        );
        return vec![Err(problem(shown, &message))];
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let good = String::from_utf8_lossy(error.as_bytes().split_at(good).0).into_owned();
            let line = good.matches('\n').count() as u64 + 1;
            let last = good.rsplit('\n').next();
            let column = last.map_or(0, |last| last.chars().count()) as u64 + 1;
            return vec![Err(DocumentProblem {
                file: Arc::from(shown),
                at: Some((line, column)),
                message: "not UTF-8 (hint: save the file as UTF-8)".to_owned(),
            })];
        }
    };
    let is_json = extension.is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        || extension.is_none() && is_json(&text);
    let format = if is_json {
        DocumentFormat::Json
    } else {
        DocumentFormat::Yaml
    };
    offline::parse(&Arc::from(shown), &text, format, |document| {
        reviewer.see(document)
    })
}

/// Guesses whether a text without a file extension is JSON: YAML has braces too, but seldom with a quote
/// after the first.
fn is_json(text: &str) -> bool {
    text.trim_start()
        .strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with('"'))
}

/// The manifests of a directory, ordered by path. Hidden files are skipped, and so are symbolic links to
/// directories, which may form cycles.
fn files(directory: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    if depth == 0 {
        bail!("{}: directories are nested too deep", directory.display());
    }
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path();
        let is_hidden = entry
            .file_name()
            .to_string_lossy()
            .starts_with('.');
        let is_manifest = path.extension().is_some_and(|end| {
            ["json", "yaml", "yml"]
                .iter()
                .any(|known| end == *known)
        });
        if is_hidden {
            continue;
        }
        if entry.file_type()?.is_dir() {
            found.extend(files(&path, depth - 1)?);
        } else if is_manifest && !path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

fn cannot_read(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

fn problem(shown: &str, message: &str) -> DocumentProblem {
    DocumentProblem {
        file: Arc::from(shown),
        at: None,
        message: message.to_owned(),
    }
}
