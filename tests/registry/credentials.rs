//! Who asks, and who is told.

use agentkube::registry::{ClientOptions, Credentials};

use crate::fake::{answer, ask, check, failure, good, plain, serve};

/// A registry that hands out a token for a password, as most do.
async fn with_tokens() -> String {
    serve(None, |head| {
        let host = head
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default()
            .to_owned();
        let has = |value: &str| head.contains(&format!("authorization: {value}\r\n"));
        if head.contains(" /token?scope=repository:") && head.contains(":pull&service=us%20all ") {
            return if has("Basic dXNlcjpwYXNz") {
                answer("200 OK", "", r#"{"token":"pass-on"}"#)
            } else {
                answer("401 Unauthorized", "", "")
            };
        }
        if has("Bearer pass-on") {
            return good(head);
        }
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"us all\"\r\n"
        );
        answer("401 Unauthorized", &challenge, "")
    })
    .await
}

fn credentials(address: &str, auth: &str) -> ClientOptions {
    let config = format!(r#"{{"auths": {{"{address}": {{"auth": "{auth}"}}}}}}"#);
    ClientOptions {
        credentials: Credentials::parse(&config).unwrap(),
        ..plain()
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_the_password_for_the_registry() {
    let address = with_tokens().await;
    let right = credentials(&address, "dXNlcjpwYXNz");
    assert_eq!(ask(&address, right).await, Ok(()));
    let wrong = failure(&address, credentials(&address, "d3Jvbmc=")).await;
    assert_eq!(
        wrong,
        (
            "denied",
            "the registry refuses these credentials".to_owned()
        )
    );
    let none = failure(&address, credentials("other.example.com", "d3Jvbmc=")).await;
    assert_eq!(
        none,
        ("denied", "the registry requires credentials".to_owned())
    );
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = serve(None, |head| {
        assert!(!head.contains("authorization"), "{head}");
        good(head)
    })
    .await;
    let address = serve(None, move |head| {
        if head.contains(" /v2/ ") {
            good(head)
        } else if !head.contains("authorization: Basic dXNlcjpwYXNz\r\n") {
            answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "")
        } else {
            let path = head.split(' ').nth(1).unwrap();
            let location = format!("Location: http://{elsewhere}{path}\r\n");
            answer("307 Temporary Redirect", &location, "")
        }
    })
    .await;
    let options = credentials(&address, "dXNlcjpwYXNz");
    assert_eq!(ask(&address, options).await, Ok(()));
}

#[tokio::test]
async fn an_identity_token_is_given_for_a_token() {
    let address = serve(None, |request| {
        let host = request
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        if request.starts_with("POST /token HTTP") {
            let form = "grant_type=refresh_token&client_id=agentkube&scope=repository:org/app:pull\
                        &service=all&refresh_token=known%3D";
            return if request.ends_with(form) {
                answer("200 OK", "", r#"{"access_token":"pass-on"}"#)
            } else {
                answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#)
            };
        }
        if request.contains("authorization: Bearer pass-on\r\n") {
            return good(request);
        }
        let challenge =
            format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=all\r\n");
        answer("401 Unauthorized", &challenge, "")
    })
    .await;
    let options = |token: &str| {
        let entry = format!(r#"{{"auth": "dXNlcjo=", "identitytoken": "{token}"}}"#);
        let config = format!(r#"{{"auths": {{"{address}": {entry}}}}}"#);
        ClientOptions {
            credentials: Credentials::parse(&config).unwrap(),
            ..plain()
        }
    };
    assert_eq!(ask(&address, options("known=")).await, Ok(()));
    let refused = failure(&address, options("other")).await;
    let message = "the registry refuses these credentials".to_owned();
    assert_eq!(refused, ("denied", message));
}

const HELPERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/helpers");

#[tokio::test]
async fn a_helper_is_asked_once_a_registry() {
    let (here, there) = (with_tokens().await, with_tokens().await);
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let asked = directory.path().join("asked");
    let (config, asked) = (config.to_str().unwrap(), asked.to_str().unwrap());
    let path = format!("{HELPERS}:{}", std::env::var("PATH").unwrap());
    let environment = [("PATH", path.as_str()), ("ASKED", asked)];
    let setting = format!("AGENTKUBE_IMAGE_REGISTRY={here}");
    let custom = format!("{there}/org/app:v1");
    let arguments = [
        "--insecure-registry",
        "--docker-config",
        config,
        "--set",
        &setting,
        "--custom",
        &custom,
    ];

    let helper = format!(r#"{{"credHelpers": {{"{here}": "test"}}, "credsStore": "test"}}"#);
    std::fs::write(config, helper).unwrap();
    assert_eq!(
        check(&arguments, &environment).await,
        (Some(0), String::new())
    );
    let mut asked: Vec<_> = std::fs::read_to_string(asked)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    asked.sort();
    let mut expected = [here, there];
    expected.sort();
    assert_eq!(asked, expected);

    std::fs::write(config, r#"{"credsStore": "nowhere"}"#).unwrap();
    let (status, said) = check(&arguments, &environment).await;
    assert_eq!(status, Some(2));
    assert_eq!(said.lines().count(), 11, "{said}");
    for line in said.lines() {
        assert!(
            line.ends_with(
                "`docker-credential-nowhere` cannot be run: No such file or directory (os error 2) (hint: it is \
                 named by `credsStore` or `credHelpers` in the file of `--docker-config`; a file with `auths` needs none)"
            ),
            "{line}"
        );
    }
}
