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
