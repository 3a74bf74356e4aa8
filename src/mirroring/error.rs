use thiserror::Error;

/// A plan that a tool cannot express. The choice of the tool is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A run has one destination, and the plan needs these two.
    #[error(
        "a run of `skopeo sync` keeps only the last component of a path and has one destination, and this plan \
         needs `{0}` and `{1}` (hint: `--format regsync` or `--format crane` can do it)"
    )]
    Destinations(String, String),
    /// The tool silently skips references with both a tag and a digest.
    #[error(
        "`skopeo sync` skips a reference with a tag and a digest: `{0}` (hint: name only one of them, or use \
         `--format regsync` or `--format crane`)"
    )]
    DigestWithTag(String),
    /// A file is for one registry, and the plan needs several.
    #[error(
        "a `hosts.toml` is for one registry, and this plan has images of `{0}` and `{1}` (hint: \
         `--format regsync` or `--format crane` can do it)"
    )]
    Hosts(String, String),
    /// Every image has an override.
    #[error("no image would come from the mirror, because every one has an override")]
    Nothing,
    /// The tool keeps the path of the source, and the image needs another path.
    #[error(
        "`{tool}` keeps the whole path of an image, but `{from}` has to become `{to}` (hint: \
         `--format regsync` or `--format crane` can do it)"
    )]
    Path {
        /// The tool's name.
        tool: &'static str,
        /// The source of the image.
        from: String,
        /// The required destination.
        to: String,
    },
}
