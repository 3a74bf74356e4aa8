//! The table of all fields in which Agents and Tools name other objects. Both the webhooks and the
//! API server's policies check its rows.

use super::ReferenceKind;
use crate::api::MOST_PULL_SECRETS;

/// The kind of object that a field belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::admission) enum ReferenceSubject {
    Agent,
    Tool,
}

/// A field that names an object of the same namespace.
#[derive(Clone, Copy, Debug)]
pub(in crate::admission) struct Row {
    pub(super) subject: ReferenceSubject,
    pub(super) kind: ReferenceKind,
    pub(super) place: FieldPath,
}

/// The place of the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldPath {
    /// In the entries of a list of the spec.
    Each {
        list: &'static str,
        /// The most entries that are checked.
        most: usize,
        /// The path from an entry to the name.
        name: &'static [&'static str],
    },
    /// At the end of this path in the spec.
    One(&'static [&'static str]),
}

/// All reference fields. Every row is judged by the webhooks and checked by the policy.
pub(super) const ROWS: [Row; 5] = [
    Row {
        subject: ReferenceSubject::Agent,
        kind: ReferenceKind::Secret,
        place: FieldPath::One(&["agentToken", "secretRef", "name"]),
    },
    Row {
        subject: ReferenceSubject::Agent,
        kind: ReferenceKind::Secret,
        place: FieldPath::Each {
            list: "imagePullSecrets",
            most: MOST_PULL_SECRETS,
            name: &["name"],
        },
    },
    Row {
        subject: ReferenceSubject::Agent,
        kind: ReferenceKind::ConfigMap,
        place: FieldPath::One(&["goal", "configMapKeyRef", "name"]),
    },
    Row {
        subject: ReferenceSubject::Agent,
        kind: ReferenceKind::ServiceAccount,
        place: FieldPath::One(&["serviceAccountName"]),
    },
    Row {
        subject: ReferenceSubject::Tool,
        kind: ReferenceKind::Secret,
        place: FieldPath::One(&["config", "credentialsRef", "name"]),
    },
];

/// The rows of an Agent or of a Tool.
pub(super) fn rows(subject: ReferenceSubject) -> impl Iterator<Item = Row> {
    ROWS.into_iter()
        .filter(move |row| row.subject == subject)
}

/// The part of a spec field that must be kept to read the names in it.
pub(in crate::admission) enum Keep {
    /// The whole field.
    All,
    /// The whole field, a list.
    List,
    /// The members for which [`is_kept`] is true.
    Members,
    Nothing,
}

/// The part to keep of the field of this name.
pub(in crate::admission) fn keep(field: &str) -> Keep {
    let of_field = |row: &Row| match row.place {
        FieldPath::Each { list, .. } if list == field => Some(Keep::List),
        FieldPath::One([only]) if *only == field => Some(Keep::All),
        FieldPath::One([first, _, ..]) if *first == field => Some(Keep::Members),
        FieldPath::Each { .. } | FieldPath::One(_) => None,
    };
    ROWS.iter()
        .find_map(of_field)
        .unwrap_or(Keep::Nothing)
}

/// True if a member of a field leads to a name.
pub(in crate::admission) fn is_kept(field: &str, member: &str) -> bool {
    ROWS.iter()
        .any(|row| matches!(row.place, FieldPath::One([first, second, ..]) if *first == field && *second == member))
}

impl Row {
    /// The field that a person has to change: the one that holds the name, not the name itself.
    pub(super) fn field(self) -> String {
        match self.place {
            FieldPath::Each { list, .. } => format!("spec.{list}"),
            FieldPath::One(path) => field("spec", path),
        }
    }

    /// The field of one entry of a list.
    pub(super) fn entry(self, index: usize) -> String {
        let entry = format!("{}[{index}]", self.field());
        match self.place {
            FieldPath::Each { name, .. } => field(&entry, name),
            FieldPath::One(_) => entry,
        }
    }
}

/// A field and a path below it, without the final `name`.
fn field(from: &str, path: &[&str]) -> String {
    let path = path
        .strip_suffix(&["name"])
        .unwrap_or(path);
    [&[from], path].concat().join(".")
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        admission::{references::references, specs::spec::Spec},
        api::{Agent, Tool},
    };

    /// The schema of the spec.
    fn schema(subject: ReferenceSubject) -> Value {
        let crd = match subject {
            ReferenceSubject::Agent => Agent::crd(),
            ReferenceSubject::Tool => Tool::crd(),
        };
        let crd = serde_json::to_value(crd).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    /// Collects the fields of a schema whose names end like those of references.
    fn naming(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let path = format!("{path}.{name}");
            let is_reference =
                name.ends_with("Ref") || name.ends_with("ecrets") || name == "serviceAccountName";
            if is_reference {
                found.push(path);
            } else {
                naming(field, &path, found);
                naming(&field["items"], &path, found);
            }
        }
    }

    #[test]
    fn every_field_that_names_an_object_has_its_row() {
        for subject in [ReferenceSubject::Agent, ReferenceSubject::Tool] {
            let mut found = Vec::new();
            naming(&schema(subject), "spec", &mut found);
            let mut listed: Vec<_> = rows(subject).map(Row::field).collect();
            listed.sort();
            assert_eq!(listed, found, "{subject:?}");
        }
    }

    #[test]
    fn the_schema_takes_no_more_entries_than_are_asked_about() {
        for row in ROWS {
            if let FieldPath::Each { list, most, .. } = row.place {
                assert_eq!(schema(row.subject)["properties"][list]["maxItems"], most);
            }
        }
    }

    #[test]
    fn what_is_kept_of_a_spec_holds_every_name() {
        for row in ROWS {
            let path = match row.place {
                FieldPath::Each { list, name, .. } => [&[list], name].concat(),
                FieldPath::One(path) => path.to_owned(),
            };
            let value = path[1..]
                .iter()
                .rev()
                .fold(json!("named"), |value, member| json!({*member: value}));
            let value = match row.place {
                FieldPath::Each { .. } => json!([value]),
                FieldPath::One(_) => value,
            };
            let spec: Spec = serde_json::from_value(json!({path[0]: value})).unwrap();
            let found = references(row.subject, &spec);
            assert_eq!(found.len(), 1, "{row:?}");
            assert_eq!((found[0].kind, found[0].name), (row.kind, "named"));
        }
    }
}
