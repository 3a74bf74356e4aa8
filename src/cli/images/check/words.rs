//! The report as text for people; programs read the JSON.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::report::{Node, Report};
use crate::cli::table::Table;

impl Report {
    pub(super) fn table(&self) -> String {
        let mut table = Table::new(&[
            "COMPONENT",
            "REFERENCE",
            "STATUS",
            "DIGEST",
            "PLATFORMS",
            "SIZE",
        ]);
        for image in &self.images {
            let components: Vec<_> = image
                .components
                .iter()
                .map(|component| component.as_str())
                .collect();
            let platforms: Vec<_> = image
                .platforms
                .iter()
                .map(|it| it.platform.as_str())
                .collect();
            let largest = image
                .platforms
                .iter()
                .map(|it| it.bytes)
                .max();
            table.row(&[
                &components.join(","),
                image.image.as_str(),
                image.status.as_str(),
                image
                    .digest
                    .as_deref()
                    .map_or("", short),
                &platforms.join(","),
                &largest.map_or_else(String::new, human),
            ]);
        }
        let mut text = table.render();
        if !self.nodes.is_empty() {
            text.push('\n');
        }
        for Node {
            platform,
            images,
            bytes,
        } in &self.nodes
        {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "a {platform} node that runs {images} of {} images holds {}, compressed and with shared layers counted once",
                self.images.len(),
                human(*bytes)
            );
        }
        text
    }

    /// Reports problems on stderr, one line per image.
    pub(super) fn complain(&self) {
        for image in &self.images {
            if let Some(message) = &image.message {
                // Nothing can be reported once stderr is closed.
                let _ = writeln!(io::stderr(), "error: `{}`: {message}", image.image.as_str());
            }
        }
    }
}

/// A digest, shortened for people to compare.
fn short(digest: &str) -> &str {
    digest
        .get(.."sha256:".len() + 12)
        .unwrap_or(digest)
}

/// Bytes in binary units, rounded down to a tenth.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = units
        .get(unit)
        .copied()
        .unwrap_or_default();
    if unit == 0 {
        format!("{bytes} {name}")
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 5 << 30, u64::MAX];
        assert_eq!(
            sizes.map(human),
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1023.9 KiB",
                "5.0 GiB",
                "16777215.9 TiB"
            ]
        );
    }
}
