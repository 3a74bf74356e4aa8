//! Manifests on disk: read before anything is started, so that a typing error costs no time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

/// One object of a manifest, as it was written.
///
/// Whatever is wrong with it beyond the four fields here is for the API server to say.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where it was read from.
    pub file: PathBuf,
    /// Such as `agentkube.io/v1alpha1`.
    pub api_version: String,
    /// Such as `Agent`.
    pub kind: String,
    /// `metadata.namespace`, where the object names one.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// All of it.
    pub object: Value,
}

impl Manifest {
    /// Takes an object that was read from `file`.
    ///
    /// # Errors
    ///
    /// It does not say what it is: `apiVersion`, `kind` or `metadata.name` is missing.
    pub fn new(file: &Path, object: Value) -> anyhow::Result<Self> {
        let text = |pointer: &str| {
            let text = object.pointer(pointer)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let field = |pointer: &str| {
            let field = pointer
                .trim_start_matches('/')
                .replace('/', ".");
            text(pointer).with_context(|| format!("an object without `{field}`"))
        };
        Ok(Self {
            file: file.to_owned(),
            api_version: field("/apiVersion")?,
            kind: field("/kind")?,
            namespace: text("/metadata/namespace"),
            name: field("/metadata/name")?,
            object,
        })
    }
}

/// Reads all objects of files and folders. Folders are searched to the bottom for `.yaml`, `.yml` and `.json`, in the
/// order of their paths; a file is read whatever its name.
///
/// # Errors
///
/// Something cannot be read, is no YAML or no JSON (the error names file, line and column), or is no object of
/// Kubernetes; or there is nothing.
pub fn read_manifests(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        let before = manifests.len();
        for file in files(path)? {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read `{}`", file.display()))?;
            manifests.extend(parse(&file, &text)?);
        }
        if manifests.len() == before {
            bail!("no manifests in `{}`", path.display());
        }
    }
    Ok(manifests)
}

/// Reads the objects of one text, as JSON where the file is called so, else as YAML. A `List` stands for its items.
///
/// # Errors
///
/// As those of [`read_manifests`].
pub fn parse(file: &Path, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let is_json = file
        .extension()
        .is_some_and(|extension| extension == "json");
    let documents = if is_json { json(text) } else { yaml(text) };
    let documents = documents.map_err(|Misread { line, column, says }| {
        // One says where with a comma, the other without.
        let said = |comma: &str| format!(" at line {line}{comma} column {column}");
        let what = says
            .trim_end_matches(&said(","))
            .trim_end_matches(&said(""));
        anyhow::anyhow!("{}:{line}:{column}: {what}", file.display())
    })?;

    let mut manifests = Vec::new();
    for (number, mut document) in (1..).zip(documents) {
        let objects = if is_list(&document)
            && let Some(Value::Array(items)) = document
                .get_mut("items")
                .map(Value::take)
        {
            items
        } else {
            vec![document]
        };
        for object in objects {
            let manifest = Manifest::new(file, object)
                .with_context(|| format!("`{}`, document {number}", file.display()))?;
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

/// A text that is not what it should be, and where. Both count from 1.
struct Misread {
    line: u64,
    column: u64,
    says: String,
}

fn yaml(text: &str) -> Result<Vec<Value>, Misread> {
    // Modes of files are written `0400`, and kubectl reads that as an octal number.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let location = error.location();
        Misread {
            line: location.map_or(1, |at| at.line()),
            column: location.map_or(1, |at| at.column()),
            says: error.to_string(),
        }
    })
}

fn json(text: &str) -> Result<Vec<Value>, Misread> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| Misread {
            line: error.line() as u64,
            column: error.column() as u64,
            says: error.to_string(),
        })
}

fn is_list(document: &Value) -> bool {
    document["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"))
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read `{}`", path.display());
    if !fs::metadata(path)
        .with_context(unreadable)?
        .is_dir()
    {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)
        .with_context(unreadable)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()
        .with_context(unreadable)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_manifest = entry
            .extension()
            .is_some_and(|extension| {
                ["json", "yaml", "yml"]
                    .iter()
                    .any(|known| extension == *known)
            });
        if is_manifest || entry.is_dir() {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(manifests: &[Manifest]) -> Vec<&str> {
        manifests
            .iter()
            .map(|manifest| manifest.name.as_str())
            .collect()
    }

    fn error(file: &str, text: &str) -> String {
        format!("{:#}", parse(Path::new(file), text).unwrap_err())
    }

    #[test]
    fn folders_are_searched_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let object = |name: &str| {
            format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}\n")
        };
        fs::create_dir(folder.path().join("c")).unwrap();
        for (file, text) in [
            ("b.yml", object("third")),
            (
                "a.yaml",
                format!("{}---\n# none\n---\n{}", object("first"), object("second")),
            ),
            ("c/d.yaml", object("fourth")),
            ("notes.md", "# no manifest".to_owned()),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let manifests = read_manifests(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names(&manifests), ["first", "second", "third", "fourth"]);
    }

    #[test]
    fn a_list_stands_for_its_items() {
        let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": "a"}}]}"#;
        let manifests = parse(Path::new("list.json"), text).unwrap();
        assert_eq!(names(&manifests), ["a", "b"]);
        assert_eq!(manifests[1].namespace.as_deref(), Some("a"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_line_and_column() {
        let yaml = error("broken.yaml", "apiVersion: v1\nkind: [Pod\nmetadata: {}\n");
        assert_eq!(yaml, "broken.yaml:3:9: illegal placement of ':' indicator");
        let json = error("broken.json", "{\"kind\": \"Pod\",\n \"metadata\" {}}");
        assert_eq!(json, "broken.json:2:13: expected `:`");
    }

    #[test]
    fn what_is_no_object_is_named_with_its_document() {
        let text =
            "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Pod}\n";
        assert_eq!(
            error("pods.yaml", text),
            "`pods.yaml`, document 2: an object without `metadata.name`"
        );
        assert_eq!(
            error("words.yaml", "just words"),
            "`words.yaml`, document 1: an object without `apiVersion`"
        );
    }

    #[test]
    fn modes_of_files_are_octal() {
        let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, mode: 0400}";
        let manifests = parse(Path::new("pod.yaml"), text).unwrap();
        assert_eq!(manifests[0].object["mode"], 256);
    }
}
