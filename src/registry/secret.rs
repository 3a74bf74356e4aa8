/// A credential for a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User and password, encoded as after `Basic `.
    Basic(String),
    /// A token that the registry's token service exchanges for others.
    Identity(String),
}
