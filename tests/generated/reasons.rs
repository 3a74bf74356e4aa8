use agentkube::admission::Reason;

use crate::files::{hold_block, table};

#[test]
fn the_documents_have_every_reason() {
    let rows = Reason::ALL.iter().map(|reason| {
        [
            format!("`{reason}`"),
            reason.code().to_string(),
            if reason.is_policy() { "yes" } else { "no" }.to_owned(),
            reason.help().to_owned(),
        ]
    });
    let table = table(["reason", "code", "policy", "what is wrong"], rows);
    hold_block("docs/auditing.md", "reasons", &table);
}
