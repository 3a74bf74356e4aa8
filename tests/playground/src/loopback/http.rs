//! Plain HTTP to a process on this machine.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Nothing that is asked here takes any time.
const LIMIT: Duration = Duration::from_secs(5);

/// `GET`s a path on 127.0.0.1, and answers with the status code and the body.
///
/// As HTTP/1.0, whose answers come in one piece and end with the connection: no client is needed for that.
pub(crate) async fn http_get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    ask(port, path, "GET", "")
        .await
        .with_context(|| format!("cannot get http://127.0.0.1:{port}{path}"))
}

/// `POST`s JSON to a path on 127.0.0.1, and answers with the body.
pub(crate) async fn http_post(port: u16, path: &str, json: &str) -> anyhow::Result<String> {
    let answer = ask(port, path, "POST", json).await;
    match answer.with_context(|| format!("cannot post to http://127.0.0.1:{port}{path}"))? {
        (200, body) => Ok(body),
        (code, body) => bail!("http://127.0.0.1:{port}{path} was answered with {code}: {body}"),
    }
}

async fn ask(port: u16, path: &str, method: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream
            .write_all(request.as_bytes())
            .await?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("the answer has no end of its head")?;
        let code = head
            .split(' ')
            .nth(1)
            .context("the answer has no status")?;
        anyhow::Ok((code.parse()?, body.to_owned()))
    };
    timeout(LIMIT, exchange)
        .await
        .ok()
        .context("no answer in time")
        .flatten()
}
