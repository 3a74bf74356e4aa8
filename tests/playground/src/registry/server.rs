//! A registry to copy images from and to.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::{
    loopback::free_ports, process::Process, registry::small_image::SmallImage, wait::until,
};

/// How long it may take to listen.
const LIMIT: Duration = Duration::from_secs(30);

/// A real registry on the loopback interface, without TLS. It goes when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    // Dropped in this order: the process before the files that it writes.
    _process: Process,
    _directory: TempDir,
}

impl Registry {
    /// Starts the program `registry`, see [`MirrorTools`](crate::MirrorTools).
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not listen in time.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yaml");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: '{address}'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n",
            directory
                .path()
                .join("storage")
                .display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        let mut process = Process::start("registry", command, directory.path())?;
        until("the registry", LIMIT, async || {
            process.expect_running()?;
            Ok(TcpStream::connect(&address).ok())
        })
        .await?;
        Ok(Self {
            address,
            _process: process,
            _directory: directory,
        })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts an image there.
    ///
    /// # Errors
    ///
    /// The registry does not take it.
    pub fn push(&self, repository: &str, tag: &str, image: &SmallImage) -> anyhow::Result<()> {
        for (digest, content) in &image.blobs {
            let upload = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
            let location = header(&upload, "location").context("no place to upload to")?;
            let path = location
                .split_once(&self.address)
                .map_or(location, |(_, path)| path);
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{separator}digest={digest}");
            let done = self.ask("PUT", &path, "application/octet-stream", content)?;
            expect_status(&done, "201")?;
        }
        let put = |version: &str, media_type: &str, text: &[u8]| {
            let path = format!("/v2/{repository}/manifests/{version}");
            expect_status(&self.ask("PUT", &path, media_type, text)?, "201")
        };
        for (digest, text) in &image.manifests {
            put(digest, SmallImage::MANIFEST, text)?;
        }
        put(tag, SmallImage::INDEX, &image.index)
    }

    /// Deletes an image, and with it every tag of it.
    ///
    /// # Errors
    ///
    /// The registry does not have it.
    pub fn delete(&self, repository: &str, digest: &str) -> anyhow::Result<()> {
        let path = format!("/v2/{repository}/manifests/{digest}");
        expect_status(&self.ask("DELETE", &path, "", &[])?, "202")
    }

    /// Whether a path of its API, such as `/v2/REPOSITORY/manifests/TAG`, is there.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn serves(&self, path: &str) -> anyhow::Result<bool> {
        let answer = self.ask("GET", path, "", &[])?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    }

    /// One exchange; the whole answer.
    fn ask(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAccept: */*\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn expect_status(answer: &str, wanted: &str) -> anyhow::Result<()> {
    ensure!(
        answer.split(' ').nth(1) == Some(wanted),
        "the registry answered:\n{answer}"
    );
    Ok(())
}

fn header<'a>(answer: &'a str, wanted: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted)
            .then(|| value.trim())
    })
}
