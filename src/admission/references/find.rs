//! The references of a spec, read by the table.

use serde_json::Value;

use super::{
    Reference,
    table::{FieldPath, ReferenceSubject, Row, rows},
};
use crate::admission::{names, specs::spec::Spec};

/// The references of a spec, in the order of the table.
pub(in crate::admission) fn references(
    subject: ReferenceSubject,
    spec: &Spec,
) -> Vec<Reference<'_>> {
    rows(subject)
        .flat_map(|row| row.references(spec))
        .collect()
}

impl Row {
    fn references(self, spec: &Spec) -> Vec<Reference<'_>> {
        match self.place {
            FieldPath::One([first, rest @ ..]) => self
                .reference(spec.kept(first), rest, self.field())
                .into_iter()
                .collect(),
            FieldPath::One([]) => Vec::new(),
            FieldPath::Each { list, most, name } => {
                let entries = spec
                    .kept(list)
                    .as_array()
                    .map_or(&[][..], Vec::as_slice);
                let asked = entries
                    .iter()
                    .take(most)
                    .enumerate()
                    .filter_map(|(index, entry)| self.reference(entry, name, self.entry(index)));
                let beyond = (entries.len() > most).then(|| Reference {
                    kind: self.kind,
                    name: "",
                    field: self.field(),
                    most: Some(most),
                });
                asked.chain(beyond).collect()
            }
        }
    }

    /// The name at the end of a path. `None` if it is not a legal object name, since nothing can
    /// exist under it.
    fn reference<'r>(
        self,
        value: &'r Value,
        path: &[&str],
        field: String,
    ) -> Option<Reference<'r>> {
        let name = path
            .iter()
            .try_fold(value, |value, member| value.get(member))?
            .as_str()
            .filter(|name| names::is_subdomain(name))?;
        Some(Reference {
            kind: self.kind,
            name,
            field,
            most: None,
        })
    }
}
