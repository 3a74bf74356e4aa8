use std::time::Duration;

use anyhow::anyhow;
use kube::{Client, Error};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    admission::Author,
    author_rights::{AuthorityError, Authorizer},
    scan::{Scan, ScannedKind},
};

/// Deadline for the access reviews of one object.
const PATIENCE: Duration = Duration::from_secs(30);

/// Users to check as authors of the scanned objects.
#[derive(clap::Args, Debug)]
pub(super) struct AuthorArgs {
    /// Also report what this user would lack rights to as author of the Agents and Tools (repeatable)
    #[arg(long = "author", value_name = "USER")]
    authors: Vec<String>,
    /// A group that these users are in (repeatable); the groups that Kubernetes itself adds are included
    #[arg(long = "author-group", value_name = "GROUP", requires = "authors")]
    groups: Vec<String>,
}

/// Checks the rights of the authors.
pub(super) struct Authors {
    authorizer: Authorizer,
    authors: Vec<Author>,
}

impl Authors {
    pub(super) fn new(client: &Client, args: &AuthorArgs) -> Self {
        let AuthorArgs { authors, groups } = args;
        Self {
            authorizer: Authorizer::new(client.clone()),
            authors: authors
                .iter()
                .map(|user| Author {
                    username: user.clone(),
                    groups: [groups_of(user), groups.clone()].concat(),
                    ..Author::default()
                })
                .collect(),
        }
    }

    /// Reports the references of an object that an author has no right to.
    ///
    /// RBAC: `create` on subjectaccessreviews.
    ///
    /// # Errors
    ///
    /// The API server cannot be asked.
    pub(super) async fn ask(
        &self,
        scan: &mut Scan<'_>,
        kind: ScannedKind,
        object: &Value,
    ) -> anyhow::Result<()> {
        if self.authors.is_empty() {
            return Ok(());
        }
        let Some(review) = scan.named(kind, object) else {
            return Ok(());
        };
        for author in &self.authors {
            let permitted = self
                .authorizer
                .permitted_to(author, &review, Instant::now() + PATIENCE)
                .await
                .map_err(|error| explain(&error))?;
            scan.hold_against(kind, object, &review, author, &permitted);
        }
        Ok(())
    }
}

/// The groups that Kubernetes itself adds a user to.
fn groups_of(user: &str) -> Vec<String> {
    let mut groups = vec!["system:authenticated".to_owned()];
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'));
    if let Some((namespace, _)) = account {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups
}

fn explain(error: &AuthorityError) -> anyhow::Error {
    match error {
        AuthorityError::Api(refused) if matches!(&**refused, Error::Api(status) if status.is_forbidden()) =>
        {
            anyhow!(
                "{refused} (hint: --author needs the verb create on subjectaccessreviews.authorization.k8s.io)"
            )
        }
        error => anyhow!("the rights of an author cannot be checked: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_is_in_the_groups_of_its_namespace() {
        assert_eq!(groups_of("ada"), ["system:authenticated"]);
        assert_eq!(
            groups_of("system:serviceaccount:team:ci"),
            [
                "system:authenticated",
                "system:serviceaccounts",
                "system:serviceaccounts:team"
            ]
        );
    }
}
