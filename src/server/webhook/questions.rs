//! Questions of reviews to the API server, with a cap on concurrent ones.

use std::sync::Arc;

use http::{Request, Response};
use kube::{Client, client::Body};
use tokio::sync::Semaphore;
use tower::{BoxError, service_fn};

/// The most concurrent requests for reviews: access reviews of authors, and reads of unknown Agents and
/// Tools. Each takes a connection, a slot of the API server's priority and fairness, and memory at both
/// ends. Further ones wait, up to the deadline of their reviews.
pub const CONCURRENT_QUESTIONS: usize = 32;

/// The client with at most this many concurrent requests. A dropped request returns its place.
pub(in crate::server) fn limited(client: Client, most: usize) -> Client {
    let places = Arc::new(Semaphore::new(most));
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let (client, places) = (client.clone(), places.clone());
        async move {
            let _place = places.acquire().await?;
            let (head, body) = client.send(request).await?.into_parts();
            // The connection is in use until the whole answer is there.
            let body = body.collect_bytes().await?;
            Ok::<_, BoxError>(Response::from_parts(head, Body::from(body)))
        }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::join_all;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use serde_json::json;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// An API server that takes its time, and how many requests it had at most.
    fn slow(answer: Duration) -> (Client, Arc<AtomicUsize>) {
        let now = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        let service = service_fn(move |_: Request<Body>| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                let under_way = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(under_way, Ordering::SeqCst);
                sleep(answer).await;
                now.fetch_sub(1, Ordering::SeqCst);
                let body = json!({"metadata": {"name": "one"}}).to_string();
                Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes())))
            }
        });
        (Client::new(service, "team"), seen)
    }

    #[tokio::test]
    async fn no_more_than_the_cap_are_under_way_and_all_are_answered() {
        let (client, most) = slow(Duration::from_millis(5));
        let client = limited(client, 4);
        assert_eq!(client.default_namespace(), "team");
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let answers = join_all((0..40).map(|_| api.get("one"))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn who_gives_up_waits_for_no_place_and_keeps_none() {
        let (client, _) = slow(Duration::from_millis(100));
        let api: Api<ConfigMap> = Api::default_namespaced(limited(client, 1));
        let short = Duration::from_millis(10);
        let given_up = join_all((0..50).map(|_| timeout(short, api.get("one")))).await;
        assert!(given_up.iter().all(Result::is_err));
        timeout(Duration::from_secs(5), api.get("one"))
            .await
            .expect("there is a place again")
            .unwrap();
    }
}
