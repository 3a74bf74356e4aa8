/// What a registry is told of who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User and password, as they stand behind `Basic `.
    Basic(String),
    /// A token for which the registry's token service gives others.
    Identity(String),
}
