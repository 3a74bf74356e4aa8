use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::{Api, Client, api::PostParams};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::question::{Key, Question};
use crate::{
    admission::{Author, Reference, Review},
    ttl_cache::TtlCache,
};

/// The number of references of an object that are checked in parallel.
const AT_A_TIME: usize = 8;

/// The most answers that are remembered, at 64 bytes or so each.
const CAPACITY: usize = 4096;

/// Lifetime of a yes: long enough for both webhooks of a request, and for what else a person
/// applies with it. A right that is taken away still counts for as long.
const ALLOWED: Duration = Duration::from_secs(10);

/// Lifetime of a no: it only takes the load off of repeated tries. An author who has just been given
/// the right should not have to wait.
const DENIED: Duration = Duration::from_secs(1);

/// Asks the API server for the rights of the authors of Agents and Tools, with a short-lived cache.
#[derive(Debug)]
pub(crate) struct Authorizer {
    api: Api<SubjectAccessReview>,
    answers: TtlCache<Key, bool>,
}

/// The reason why the rights of an author are unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum AuthorityError {
    /// The API server refused or failed.
    #[error("could not check the rights of the object's author: {0}")]
    Api(#[source] Box<kube::Error>),
    /// The API server did not answer before the request's deadline.
    #[error("the API server did not say in time which rights the object's author has")]
    Deadline,
    /// An authorizer of the API server failed, so its denial does not count.
    #[error("the API server could not evaluate the rights of the object's author: {0}")]
    Evaluation(String),
    /// The request does not fully name its user.
    #[error("the user of the request cannot be read")]
    UnknownAuthor,
}

impl Authorizer {
    /// Creates an authorizer that uses this client.
    #[must_use]
    pub(crate) fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            answers: TtlCache::new(CAPACITY),
        }
    }

    /// The references of a reviewed object that its author may use. Without references nothing is
    /// asked. If the author may create pods in the namespace, nothing else is asked.
    ///
    /// RBAC: `create` on subjectaccessreviews.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] if the answer for a reference is unknown, or the deadline has passed.
    pub(crate) async fn permitted<'r>(
        &self,
        review: &'r Review<'_>,
        deadline: Instant,
    ) -> Result<Vec<Reference<'r>>, AuthorityError> {
        if review.references().is_empty() {
            return Ok(Vec::new());
        }
        let author = review
            .author()
            .ok_or(AuthorityError::UnknownAuthor)?;
        self.permitted_to(&author, review, deadline)
            .await
    }

    /// The references of an object that this user may use, whoever wrote the object.
    ///
    /// RBAC: `create` on subjectaccessreviews.
    ///
    /// # Errors
    ///
    /// The same as for [`Authorizer::permitted`].
    pub(crate) async fn permitted_to<'r>(
        &self,
        author: &Author,
        review: &'r Review<'_>,
        deadline: Instant,
    ) -> Result<Vec<Reference<'r>>, AuthorityError> {
        let references = review.references();
        timeout_at(
            deadline,
            self.choose(author, review.namespace(), references),
        )
        .await
        .map_err(|_| AuthorityError::Deadline)?
    }

    async fn choose<'r>(
        &self,
        author: &Author,
        namespace: &str,
        references: Vec<Reference<'r>>,
    ) -> Result<Vec<Reference<'r>>, AuthorityError> {
        if self
            .allows(&Question::pods(author, namespace))
            .await?
        {
            return Ok(references);
        }
        let questions: Vec<_> = references
            .iter()
            .map(|reference| Question::of(author, namespace, reference))
            .collect();
        let answers: Vec<bool> = stream::iter(questions)
            .map(|questions| self.allows_any(questions))
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(references
            .into_iter()
            .zip(answers)
            .filter_map(|(reference, is_permitted)| is_permitted.then_some(reference))
            .collect())
    }

    async fn allows_any(&self, questions: Vec<Question>) -> Result<bool, AuthorityError> {
        for question in questions {
            if self.allows(&question).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn allows(&self, question: &Question) -> Result<bool, AuthorityError> {
        let key = question.key();
        let asked = Instant::now();
        if let Some(is_allowed) = self.answers.find(&key, asked) {
            return Ok(is_allowed);
        }
        let is_allowed = self.ask(question).await?;
        let lifetime = if is_allowed { ALLOWED } else { DENIED };
        self.answers
            .insert(key, is_allowed, asked, lifetime);
        Ok(is_allowed)
    }

    async fn ask(&self, question: &Question) -> Result<bool, AuthorityError> {
        let answer = self
            .api
            .create(&PostParams::default(), &question.review())
            .await
            .map_err(|error| AuthorityError::Api(Box::new(error)))?;
        let status = answer
            .status
            .ok_or_else(|| AuthorityError::Evaluation("the answer has no status".to_owned()))?;
        match status.evaluation_error {
            _ if status.allowed => Ok(true),
            // The API server does the same: a denial by a failed authorizer is not a refusal.
            Some(error) if !error.is_empty() => Err(AuthorityError::Evaluation(error)),
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{Api as FakeApi, Reply};

    const PATH: &str = "/subjectaccessreviews";

    fn answering(status: &Value) -> FakeApi {
        let api = FakeApi::default();
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {}, "status": status,
        });
        api.on("POST", PATH, Reply::ok(body));
        api
    }

    fn review(spec: &Value) -> String {
        let request = json!({
            "uid": "u", "operation": "CREATE", "namespace": "team", "name": "bot",
            "object": {"metadata": {"name": "bot"}, "spec": spec},
            "kind": {"group": "agentkube.io", "version": "v1alpha1", "kind": "Agent"},
            "resource": {"group": "agentkube.io", "version": "v1alpha1", "resource": "agents"},
            "userInfo": {
                "username": "ada", "uid": "7", "groups": ["devs"], "extra": {"scopes": ["all"]},
            },
        });
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
            .to_string()
    }

    fn token(name: &str) -> Value {
        json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": name, "key": "key"}}})
    }

    /// The fields that are permitted.
    async fn permitted(
        authorizer: &Authorizer,
        spec: &Value,
    ) -> Result<Vec<String>, AuthorityError> {
        let body = review(spec);
        let review = Review::parse(body.as_bytes()).unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        let permitted = authorizer
            .permitted(&review, deadline)
            .await?;
        Ok(permitted
            .into_iter()
            .map(|reference| reference.field)
            .collect())
    }

    #[tokio::test]
    async fn without_a_reference_nothing_is_asked() {
        let api = FakeApi::default();
        let authorizer = Authorizer::new(api.client());
        let spec = json!({"runtime": "Codex", "goal": {"inline": "work"}});
        assert!(
            permitted(&authorizer, &spec)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(api.total(), 0);
    }

    #[tokio::test]
    async fn the_question_is_about_the_user_of_the_request_and_is_put_once() {
        let api = answering(&json!({"allowed": true}));
        let authorizer = Authorizer::new(api.client());
        let mut spec = token("token");
        spec["imagePullSecrets"] = json!([{"name": "a"}, {"name": "b"}]);
        spec["serviceAccountName"] = json!("builder");
        spec["goal"] = json!({"configMapKeyRef": {"name": "goals", "key": "one"}});
        for _ in 0..2 {
            assert_eq!(
                permitted(&authorizer, &spec)
                    .await
                    .unwrap(),
                [
                    "spec.agentToken.secretRef",
                    "spec.imagePullSecrets[0]",
                    "spec.imagePullSecrets[1]",
                    "spec.goal.configMapKeyRef",
                    "spec.serviceAccountName",
                ]
            );
        }
        assert_eq!(api.total(), 1);
        assert_eq!(
            api.request("POST", PATH)["spec"],
            json!({
                "user": "ada", "uid": "7", "groups": ["devs"], "extra": {"scopes": ["all"]},
                "resourceAttributes": {"namespace": "team", "verb": "create", "resource": "pods"},
            })
        );
    }

    #[tokio::test]
    async fn a_no_permits_nothing() {
        let api = answering(&json!({"allowed": false, "reason": "no rule"}));
        let authorizer = Authorizer::new(api.client());
        assert!(
            permitted(&authorizer, &token("token"))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            api.request("POST", PATH)["spec"]["resourceAttributes"],
            json!({"namespace": "team", "verb": "get", "resource": "secrets", "name": "token"})
        );
    }

    #[tokio::test]
    async fn a_name_that_no_object_can_have_is_not_asked_about() {
        let api = FakeApi::default();
        let authorizer = Authorizer::new(api.client());
        let permitted = permitted(&authorizer, &token("../token")).await;
        assert!(permitted.unwrap().is_empty());
        assert_eq!(api.total(), 0);
    }

    #[tokio::test]
    async fn what_is_not_answered_is_no_yes_and_is_not_remembered() {
        let failing = FakeApi::default();
        failing.on("POST", PATH, Reply::error(403, "Forbidden", "no"));
        let evaluation = answering(&json!({"allowed": false, "evaluationError": "timeout"}));
        let silent = answering(&Value::Null);
        for api in [failing, evaluation, silent] {
            let authorizer = Authorizer::new(api.client());
            for _ in 0..2 {
                assert!(
                    permitted(&authorizer, &token("token"))
                        .await
                        .is_err()
                );
            }
            assert_eq!(api.total(), 2);
        }
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_costs_no_more_than_the_deadline() {
        let service = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
                .await
        });
        let authorizer = Authorizer::new(Client::new(service, "default"));
        let start = Instant::now();
        let answer = permitted(&authorizer, &token("token")).await;
        assert!(
            matches!(answer, Err(AuthorityError::Deadline)),
            "{answer:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
