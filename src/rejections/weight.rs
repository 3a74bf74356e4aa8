//! The memory that a Rejection takes while it waits to be written.

use serde_json::Value;

use crate::api::RejectionSpec;

/// The approximate size of a Rejection in bytes.
pub(super) fn weigh(record: &RejectionSpec) -> usize {
    let causes = record.causes.iter().map(|cause| {
        size_of_val(cause) + cause.reason.len() + cause.field.len() + cause.message.len()
    });
    size_of::<RejectionSpec>()
        + record.object.kind.len()
        + record.object.name.len()
        + record.user.len()
        + record.field.len()
        + record.message.len()
        + causes.sum::<usize>()
        + record
            .submitted
            .as_ref()
            .map_or(0, weigh_value)
}

/// Drops the dispensable parts of a Rejection. Object, user and reason stay.
pub(super) fn slim(record: &mut RejectionSpec) {
    record.causes.truncate(1);
    record.submitted_truncated |= record.submitted.take().is_some();
}

fn weigh_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weigh_value).sum(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| size_of::<String>() + name.len() + weigh_value(value))
                .sum(),
        }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::rejections::refusal::tests::refusal;

    #[test]
    fn many_small_values_weigh_more_than_their_text() {
        let mut record = refusal("team", "bot", "alice").record(Timestamp::UNIX_EPOCH);
        let light = weigh(&record);
        record.submitted = Some(json!({"list": vec![1; 1000]}));
        assert!(weigh(&record) > light + 1000 * size_of::<Value>());
        slim(&mut record);
        assert!(record.submitted_truncated);
        assert!(weigh(&record) <= light);
        assert_eq!(record.causes.len(), 1);
    }
}
