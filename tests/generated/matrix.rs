//! Written from the matrix: the README's table.

use std::fmt::Write as _;

use agentkube::images::{Kind, rows};

use crate::files::hold_block;

#[test]
fn the_readme_shows_the_matrix() {
    let mut table =
        "| component | kind | default image | token variable | override |\n|---|---|---|---|---|\n"
            .to_owned();
    for row in rows() {
        let code = |text: Option<String>| text.map_or_else(String::new, |text| format!("`{text}`"));
        let kind = match row.kind {
            Kind::Infrastructure => "infrastructure",
            Kind::Runtime => "runtime",
        };
        let image = row.default_image().map_or_else(
            || "none: `spec.image` of the Agent".to_owned(),
            |image| code(Some(image.to_string())),
        );
        let token = code(row.token.map(str::to_owned));
        let variable = code(row.variable.map(str::to_owned));
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {kind} | {image} | {token} | {variable} |",
            row.name
        );
    }
    hold_block("README.md", "matrix", &table);
}
