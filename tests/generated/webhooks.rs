use agentkube::{admission, api::to_yaml};

use crate::files::hold_file;

const HEADER: &str = "\
# The registrations, written from src/admission/registrations/mod.rs by `.ci/generate`, which says why they
# are as they are. The manager puts its certificate authority into both.
";

#[test]
fn the_registrations_in_manifests_are_those_of_the_webhooks() {
    let (mutating, validating) = admission::registrations();
    let mutating = to_yaml(&mutating).expect("it is YAML");
    let validating = to_yaml(&validating).expect("it is YAML");
    hold_file(
        "manifests/webhooks.yaml",
        &format!("{HEADER}{mutating}---\n{validating}"),
    );
}
