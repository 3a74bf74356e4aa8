use std::{process::Stdio, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use super::{AskError, secret::Secret};

/// Size limit of an answer. Tokens have a few thousand bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// The output of a helper that has no credentials for a registry; it exits with a failure
/// (`errCredentialsNotFoundMessage` of docker-credential-helpers).
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// The user name of an identity token (`tokenUsername` of Docker's CLI).
const TOKEN_USER: &str = "<token>";

/// A credential helper: the program `docker-credential-NAME`, which speaks the protocol of
/// docker-credential-helpers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Helper(String);

impl Helper {
    /// The helper of a valid name. A name with a `/` would be a path instead of a program in `PATH`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (!name.is_empty() && name.bytes().all(is_plain))
            .then(|| Self(format!("docker-credential-{name}")))
    }

    /// Asks it for the secret of a registry; `None` if it has none. Errors never quote the helper's
    /// output, which may contain the secret.
    pub(super) async fn secret(
        &self,
        server: &str,
        deadline: Duration,
    ) -> Result<Option<Secret>, AskError> {
        let Self(program) = self;
        let failed = |why: String| AskError::Helper(format!("`{program}` {why}"));
        let mut child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("cannot be run: {error}")))?;
        let exchange = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that does not read its input fails by itself.
                let _ = stdin.write_all(server.as_bytes()).await;
            }
            let mut answer = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout
                    .take(ANSWER_MAX + 1)
                    .read_to_end(&mut answer)
                    .await
                    .map_err(|error| failed(format!("cannot be read: {error}")))?;
            }
            if answer.len() as u64 > ANSWER_MAX {
                return Err(failed(format!(
                    "answered with more than {} KiB",
                    ANSWER_MAX >> 10
                )));
            }
            let status = child
                .wait()
                .await
                .map_err(|error| failed(format!("could not be waited for: {error}")))?;
            if status.success() {
                let answer = serde_json::from_slice(&answer)
                    .map_err(|_| failed("did not answer with credentials".to_owned()))?;
                Ok(Some(secret(answer)))
            } else if answer.trim_ascii() == NOT_FOUND {
                Ok(None)
            } else {
                Err(failed(format!("failed ({status})")))
            }
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(failed(format!(
                    "did not answer within {} s",
                    deadline.as_secs_f32()
                )))
            })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

fn secret(answer: HelperAnswer) -> Secret {
    let HelperAnswer { username, secret } = answer;
    if username == TOKEN_USER {
        Secret::Identity(secret)
    } else {
        Secret::Basic(STANDARD.encode(format!("{username}:{secret}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_program_of_the_search_path() {
        assert!(Helper::parse("ecr-login").is_some());
        for name in ["", "../evil", "a b", "a/b"] {
            assert_eq!(Helper::parse(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn what_a_helper_says_is_never_repeated() {
        let program = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/registry/helpers/docker-credential-test"
        );
        let helper = Helper(program.to_owned());
        let long = Duration::from_secs(30);
        let ask = async |server, deadline| match helper.secret(server, deadline).await {
            Ok(Some(Secret::Basic(encoded))) => encoded,
            Ok(Some(Secret::Identity(token))) => format!("token {token}"),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string().replace(program, "it"),
        };
        for (server, expected) in [
            ("registry.example.com", "dXNlcjpwYXNz"),
            ("token.example.com", "token SECRET"),
            ("absent.example.com", "nothing"),
            ("broken.example.com", "`it` failed (exit status: 1)"),
            ("endless.example.com", "`it` answered with more than 64 KiB"),
            (
                "strange.example.com",
                "`it` did not answer with credentials",
            ),
        ] {
            assert_eq!(ask(server, long).await, expected, "{server}");
        }
        let short = Duration::from_millis(100);
        assert_eq!(
            ask("slow.example.com", short).await,
            "`it` did not answer within 0.1 s"
        );
    }
}
