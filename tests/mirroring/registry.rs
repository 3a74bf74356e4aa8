use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use agentkube_playground::{Process, free_ports, until};
use tempfile::TempDir;

use crate::image::TestImage;

/// A real registry on the loopback interface, without TLS. It goes when it is dropped.
pub(crate) struct Registry {
    address: String,
    // Dropped in this order: the process before the files that it writes.
    _process: Process,
    _directory: TempDir,
}

impl Registry {
    pub(crate) async fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [port] = free_ports().expect("a port");
        let address = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yaml");
        let storage = directory.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: '{address}'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n",
            storage.display()
        );
        fs::write(&config, text).expect("the configuration is written");
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        let mut process = Process::start("registry", command, directory.path()).expect("it starts");
        until("the registry", Duration::from_secs(30), async || {
            process.expect_running()?;
            Ok(TcpStream::connect(&address).ok())
        })
        .await
        .expect("it listens");
        Self {
            address,
            _process: process,
            _directory: directory,
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn push(&self, repository: &str, tag: &str, image: &TestImage) {
        for (digest, content) in &image.blobs {
            let upload = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]);
            let location = header(&upload, "location").expect("a place to upload to");
            let path = location
                .split_once(&self.address)
                .map_or(location, |(_, path)| path);
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{separator}digest={digest}");
            let done = self.ask("PUT", &path, "application/octet-stream", content);
            assert_status(&done, "201");
        }
        let count = image.manifests.len();
        for (position, (media_type, digest, text)) in (1..).zip(&image.manifests) {
            let version = if position == count { tag } else { digest };
            let path = format!("/v2/{repository}/manifests/{version}");
            assert_status(&self.ask("PUT", &path, media_type, text), "201");
        }
    }

    /// Deletes an image, and with it every tag of it.
    pub(crate) fn delete(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        assert_status(&self.ask("DELETE", &path, "", &[]), "202");
    }

    /// One exchange; the answer's head.
    fn ask(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), body].concat())
            .expect("the request is sent");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn assert_status(answer: &str, wanted: &str) {
    assert_eq!(answer.split(' ').nth(1), Some(wanted), "{answer}");
}

fn header<'a>(answer: &'a str, wanted: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted)
            .then(|| value.trim())
    })
}
