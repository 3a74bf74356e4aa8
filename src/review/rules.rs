//! The rules that the CRDs carry in CEL. Only those are ever compiled: nothing that an author sends
//! is.

use std::sync::LazyLock;

use cel::{Context, Program, Value as CelValue};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::Value;

use super::cause::Cause;

/// The functions of CEL, which take far longer to set up than any rule takes to run.
static CONTEXT: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);

/// A rule, and what is said where it does not hold.
pub(super) struct Rule {
    program: Program,
    message: String,
    reason: Option<String>,
    field: String,
}

impl Rule {
    /// Compiles a rule; every rule of the CRDs compiles, which a test holds.
    pub(super) fn compile(rule: &ValidationRule) -> Option<Self> {
        let message = rule
            .message
            .clone()
            .unwrap_or_else(|| format!("failed rule: {}", rule.rule));
        Some(Self {
            program: Program::compile(&rule.rule).ok()?,
            message: message.trim().to_owned(),
            reason: rule.reason.clone(),
            field: rule
                .field_path
                .clone()
                .unwrap_or_default(),
        })
    }

    /// Says what is wrong, where the rule does not hold for `value`.
    pub(super) fn judge(&self, value: &Value, path: &str) -> Option<Cause> {
        let mut context = CONTEXT.new_inner_scope();
        let holds = match context.add_variable("self", value) {
            Ok(()) => match self.program.execute(&context) {
                Ok(CelValue::Bool(holds)) => Ok(holds),
                Ok(_) => Err("no boolean".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        let field = format!("{path}{}", self.field);
        let field = field.trim_start_matches('.');
        let field = if field.is_empty() { "<nil>" } else { field };
        match holds {
            Ok(true) => None,
            Ok(false) => Some(self.cause(field, value)),
            Err(error) => Some(Cause::invalid(
                field,
                None,
                &format!("{error} evaluating rule: {}", self.message),
            )),
        }
    }

    fn cause(&self, field: &str, value: &Value) -> Cause {
        match self.reason.as_deref() {
            Some("FieldValueRequired") => Cause::required(field, &self.message),
            Some("FieldValueForbidden") => Cause::forbidden(field, &self.message),
            _ => {
                let is_small = !value.is_object() && !value.is_array();
                Cause::invalid(field, is_small.then_some(value), &self.message)
            }
        }
    }
}
