//! The CEL rules of the CRDs. Only these are ever compiled, never the input of an author.

use std::{collections::HashMap, sync::LazyLock};

use cel::{
    Context, Program, Value as CelValue,
    common::{
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
        },
        value::Val,
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::Value;

use super::path::Path;
use crate::offline::output::cause::ReviewCause;

/// The functions of CEL, which take far longer to set up than a rule takes to run.
static CONTEXT: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);

/// The API server's error for a number with any fraction in a field that a rule reads.
const NEITHER: &str = "invalid data, expected XIntOrString value to be either a string or integer";

/// A rule, and the message if it fails.
pub(in crate::offline) struct Rule {
    program: Program,
    message: String,
    reason: Option<String>,
    field: String,
}

impl Rule {
    /// Compiles a rule. A test ensures that every rule of the CRDs compiles.
    pub(in crate::offline) fn compile(rule: &ValidationRule) -> Option<Self> {
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

    /// The problem, if the rule does not hold for `value`.
    pub(in crate::offline) fn judge(&self, value: &Value, path: &Path<'_>) -> Option<ReviewCause> {
        let broken = match self.holds(value) {
            Ok(true) => return None,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        let field = format!("{path}{}", self.field);
        let field = field.trim_start_matches('.');
        let field = if field.is_empty() { "<nil>" } else { field };
        Some(match broken {
            Ok(()) => self.cause(field, value),
            // The API server shows the type in place of the value, and such a field has none.
            Err(error) => ReviewCause::invalid(
                field,
                Some(&Value::from("")),
                &format!("{error} evaluating rule: {}", self.message),
            ),
        })
    }

    fn holds(&self, value: &Value) -> Result<bool, String> {
        // Rules apply to objects, texts, and numbers that may be texts.
        if value.is_f64() {
            return Err(NEITHER.to_owned());
        }
        let mut context = CONTEXT.new_inner_scope();
        context.add_variable_as_val("self", borrowed(value));
        match self.program.execute(&context) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(_) => Err("no boolean".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn cause(&self, field: &str, value: &Value) -> ReviewCause {
        match self.reason.as_deref() {
            Some("FieldValueRequired") => ReviewCause::required(field, &self.message),
            Some("FieldValueForbidden") => ReviewCause::forbidden(field, &self.message),
            _ => {
                let is_small = !value.is_object() && !value.is_array();
                ReviewCause::invalid(field, is_small.then_some(value), &self.message)
            }
        }
    }
}

/// A value as CEL takes it, with borrowed content.
fn borrowed(value: &Value) -> Box<dyn Val + '_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(is) => Box::new(CelBool::from(*is)),
        Value::Number(number) => {
            if let Some(number) = number.as_i64() {
                Box::new(CelInt::from(number))
            } else if let Some(number) = number.as_u64() {
                Box::new(CelUInt::from(number))
            } else {
                Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
            }
        }
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(borrowed).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(members) => {
            let members: HashMap<_, _> = members
                .iter()
                .map(|(name, value)| (CelMapKey::from(name.as_str()), borrowed(value)))
                .collect();
            Box::new(CelMap::from(members))
        }
    }
}
