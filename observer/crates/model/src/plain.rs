//! How a number's type looks in a schema: as the plain integer that it is in files, wherever it stands.

macro_rules! plain {
    ($name:ident, $integer:ty) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$integer>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$integer>::json_schema(generator)
            }
        }
    };
}

/// A text that is empty when it is not known, and `null` in files.
pub(crate) mod empty_is_null {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        Some(text).filter(|text| !text.is_empty()).serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<String, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or_default())
    }
}
