//! Validating admission policies that check references as the webhooks do. The API server evaluates
//! them even if no manager answers.
//!
//! `[ Row ] -> a variable with the name, a validation, a message`
//!
//! Invariant: a policy permits nothing that the webhooks refuse, and refuses nothing that they
//! permit.

use std::fmt::Write as _;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, ValidatingAdmissionPolicySpec, Validation, Variable,
};

use super::{
    AuthorRight, hint_to_shorten, hint_to_use,
    table::{FieldPath, ReferenceSubject, Row, rows},
};
use crate::{
    admission::{
        AdmissionPolicy, credential, names, registrations::admission_policy::matches,
        specs::spec::HARMLESS,
    },
    api::{GROUP, VERSION},
};

/// The name of the policy for Agents, and of its binding.
pub const AGENT_POLICY: &str = "agentkube-agent-references";
/// The name of the policy for Tools, and of its binding.
pub const TOOL_POLICY: &str = "agentkube-tool-references";

/// The policies that check references: one for Agents, one for Tools.
#[must_use]
pub fn reference_policies() -> [AdmissionPolicy; 2] {
    [ReferenceSubject::Agent, ReferenceSubject::Tool].map(|subject| {
        let (name, resource) = match subject {
            ReferenceSubject::Agent => (AGENT_POLICY, "agents"),
            ReferenceSubject::Tool => (TOOL_POLICY, "tools"),
        };
        AdmissionPolicy::new(
            name,
            "so that references are not checked while the webhooks are away",
            policy(subject, resource),
        )
    })
}

fn policy(subject: ReferenceSubject, resource: &str) -> ValidatingAdmissionPolicySpec {
    let mut variables = vec![
        variable(MAY_CREATE_PODS, asks(AuthorRight::TO_EVERYTHING, None)),
        variable(
            USER,
            format!(
                "'Forbidden: user ' + {}",
                quoted("request.userInfo.username")
            ),
        ),
        variable(
            NAMESPACE,
            format!("'namespace ' + {}", quoted("request.namespace")),
        ),
    ];
    let mut validations = Vec::new();
    for row in rows(subject) {
        let name = named(row);
        variables.push(variable(&name, names_of(row)));
        variables.push(variable(&shown(&name), shown_of(row, &name)));
        validations.extend(validations_of(row));
    }
    ValidatingAdmissionPolicySpec {
        match_conditions: Some(vec![MatchCondition {
            name: "steers-what-runs".to_owned(),
            expression: steers(),
        }]),
        match_constraints: Some(matches(
            (GROUP, VERSION),
            &[resource],
            &["CREATE", "UPDATE"],
        )),
        validations: Some(validations),
        variables: Some(variables),
        ..ValidatingAdmissionPolicySpec::default()
    }
}

const MAY_CREATE_PODS: &str = "mayCreatePods";
const USER: &str = "user";
const NAMESPACE: &str = "place";

/// CEL: a field changes that affects what runs.
fn steers() -> String {
    let harmless = HARMLESS
        .map(|field| format!("'{field}'"))
        .join(", ");
    let spec = |object: &str| format!("{object}.?spec.orValue({{}})");
    let (new, old) = (spec("object"), spec("oldObject"));
    format!(
        "oldObject == null\n\
         || {new}.exists(k, !(k in [{harmless}]) && (!(k in {old}) || object.spec[k] != oldObject.spec[k]))\n\
         || {old}.exists(k, !(k in [{harmless}]) && !(k in {new}))"
    )
}

/// The name of the variable that holds a row's name: `agentTokenSecretRef`.
fn named(row: Row) -> String {
    let field = row.field();
    let mut words = field.split('.').skip(1);
    let first = words
        .next()
        .unwrap_or_default()
        .to_owned();
    words.fold(first, |mut name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        // Writing to a String does not fail.
        let _ = write!(name, "{}{rest}", initial.to_ascii_uppercase());
        name
    })
}

/// CEL: the name that a row holds, or the checked names of a list. Empty if a name is absent or
/// illegal.
fn names_of(row: Row) -> String {
    match row.place {
        FieldPath::Each { list, most, name } => {
            let indices = (0..most)
                .map(|index| index.to_string())
                .collect::<Vec<_>>()
                .join(", ");
            let entries = format!("object.spec.?{list}.orValue([])");
            let name = optional(&format!("{entries}[i]"), name);
            format!(
                "[{indices}].map(i, i < {entries}.size() ? {name} : '')\n\
                 .map(n, {} ? n : '')",
                names::is_subdomain_in_cel("n")
            )
        }
        FieldPath::One(path) => {
            let name = optional("object.spec", path);
            format!(
                "[{name}]\n.map(n, {} ? n : '')[0]",
                names::is_subdomain_in_cel("n")
            )
        }
    }
}

/// The name of the variable that holds the name as messages show it.
fn shown(name: &str) -> String {
    format!("{name}Shown")
}

/// CEL: the name in quotes, or each name of a list. Credentials are hidden.
fn shown_of(row: Row, name: &str) -> String {
    let is_credential = credential::looks_like_credential_in_cel("n");
    let (names, first) = match row.place {
        FieldPath::Each { .. } => (format!("variables.{name}"), ""),
        FieldPath::One(_) => (format!("[variables.{name}]"), "[0]"),
    };
    format!(
        "{names}.map(n, {is_credential} ? '{}' : {}){first}",
        credential::NOT_SHOWN,
        quoted("n"),
    )
}

/// CEL: the text at the end of a path, or an empty one.
fn optional(from: &str, path: &[&str]) -> String {
    let steps = [&[from], path].concat();
    format!("{}.orValue('')", steps.join(".?"))
}

fn validations_of(row: Row) -> Vec<Validation> {
    let name = named(row);
    match row.place {
        FieldPath::One(_) => vec![permits(row, &row.field(), &name, "")],
        FieldPath::Each { list, most, .. } => (0..most)
            .map(|index| permits(row, &row.entry(index), &name, &format!("[{index}]")))
            .chain([no_more(row, list, most)])
            .collect(),
    }
}

/// The validation that the author has a right to the named object, if one is named.
fn permits(row: Row, field: &str, variable: &str, index: &str) -> Validation {
    let name = format!("variables.{variable}{index}");
    let rights = row
        .kind
        .rights()
        .iter()
        .map(|right| asks(*right, Some(&name)))
        .collect::<Vec<_>>()
        .join("\n|| ");
    let (kind, verb) = (row.kind, row.kind.verb());
    refuses(
        format!("{name} == '' || variables.{MAY_CREATE_PODS}\n|| {rights}"),
        // The fallback message, for a user name that cannot be shown in one line.
        format!(
            "{field}: Forbidden: you may neither {verb} this {kind} nor create pods in this namespace"
        ),
        format!(
            "'{field}: ' + variables.{USER} + ' may neither {verb} {kind} ' + variables.{}{index}\n\
             + ' nor create pods in ' + variables.{NAMESPACE}\n\
             + ' (hint: {})'",
            shown(variable),
            hint_to_use(row.kind),
        ),
    )
}

/// The validation that a list has no more entries than are checked.
fn no_more(row: Row, list: &str, most: usize) -> Validation {
    let field = row.field();
    let rest = format!(", and may not name more than {most}");
    refuses(
        format!("object.spec.?{list}.orValue([]).size() <= {most} || variables.{MAY_CREATE_PODS}"),
        format!("{field}: Forbidden: you may not create pods in this namespace{rest}"),
        format!(
            "'{field}: ' + variables.{USER} + ' may not create pods in ' + variables.{NAMESPACE}\n\
             + '{rest} (hint: {})'",
            hint_to_shorten(most),
        ),
    )
}

fn refuses(expression: String, message: String, message_expression: String) -> Validation {
    Validation {
        expression,
        message: Some(message),
        message_expression: Some(message_expression),
        reason: Some("Forbidden".to_owned()),
    }
}

/// CEL: the author has this right, to the object of this name if one is given.
fn asks(right: AuthorRight, name: Option<&str>) -> String {
    let AuthorRight {
        verb,
        resource,
        subresource,
    } = right;
    let subresource =
        subresource.map_or_else(String::new, |word| format!(".subresource('{word}')"));
    let name = name.map_or_else(String::new, |name| format!(".name({name})"));
    format!(
        "authorizer.group('').resource('{resource}'){subresource}.namespace(request.namespace){name}.check('{verb}').allowed()"
    )
}

fn quoted(expression: &str) -> String {
    format!("'\"' + {expression} + '\"'")
}

fn variable(name: &str, expression: String) -> Variable {
    Variable {
        name: name.to_owned(),
        expression,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cost of one check, and the limits for one expression and for a whole policy
    /// (`k8s.io/apiserver/pkg/cel/library/cost.go`, `pkg/apis/cel/config.go`).
    const CHECK: usize = 350_000;
    const EXPRESSION: usize = 1_000_000;
    const POLICY: usize = 10_000_000;

    #[test]
    fn no_policy_costs_more_than_the_api_server_lets_it() {
        for AdmissionPolicy { policy, .. } in reference_policies() {
            let spec = policy.spec.unwrap();
            let variables = spec.variables.unwrap();
            let validations = spec.validations.unwrap();
            let expressions = variables
                .iter()
                .map(|variable| &variable.expression)
                .chain(
                    validations
                        .iter()
                        .map(|validation| &validation.expression),
                );
            let mut checks = 0;
            for expression in expressions {
                let here = expression.matches(".check(").count();
                assert!(here * CHECK + EXPRESSION / 10 < EXPRESSION, "{expression}");
                checks += here;
            }
            // Names and messages cost a few thousand each.
            assert!(checks * CHECK + POLICY / 10 < POLICY, "{checks} checks");
        }
    }

    #[test]
    fn each_row_has_a_variable_of_its_own() {
        for subject in [ReferenceSubject::Agent, ReferenceSubject::Tool] {
            let mut names: Vec<_> = rows(subject).map(named).collect();
            let rows = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), rows);
            assert!(
                !names
                    .iter()
                    .any(|name| [MAY_CREATE_PODS, USER, NAMESPACE].contains(&name.as_str()))
            );
        }
    }
}
