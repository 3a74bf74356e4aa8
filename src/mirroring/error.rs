use thiserror::Error;

/// What a tool cannot express. The fault is in the choice of the tool.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A run has one destination; two that the plan would need.
    #[error(
        "a run of `skopeo sync` keeps only the last component of a path and has one destination, and this plan \
         needs `{0}` and `{1}` (hint: `--format regsync` or `--format crane` can do it)"
    )]
    Destinations(String, String),
    /// The tool leaves out references with both tag and digest, and calls that success.
    #[error(
        "`skopeo sync` skips a reference with a tag and a digest: `{0}` (hint: name only one of them, or use \
         `--format regsync` or `--format crane`)"
    )]
    DigestWithTag(String),
    /// There is one file a registry, and the plan needs several.
    #[error(
        "a `hosts.toml` is for one registry, and this plan has images of `{0}` and `{1}` (hint: \
         `--format regsync` or `--format crane` can do it)"
    )]
    Hosts(String, String),
    /// Every image has an override.
    #[error("no image would come from the mirror, because every one has an override")]
    Nothing,
    /// The tool keeps the path of the source, and the image has to lie elsewhere.
    #[error(
        "`{tool}` keeps the whole path of an image, and `{from}` has to become `{to}` (hint: \
         `--format regsync` or `--format crane` can do it)"
    )]
    Path {
        /// The tool's name.
        tool: &'static str,
        /// Where the image is.
        from: String,
        /// Where it has to be.
        to: String,
    },
}
