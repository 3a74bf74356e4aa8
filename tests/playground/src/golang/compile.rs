//! Compiling the programs of a module with Go, in sight of the person who waits.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::time::sleep;

use crate::{
    golang::{
        cache::Work,
        module::{Module, go},
    },
    process::Process,
    talk::{self, Progress},
};

/// Compiles all programs at once, as they share most packages.
pub(crate) async fn compile(
    module: Module,
    work: &Work,
    arguments: &[String],
    programs: usize,
) -> anyhow::Result<()> {
    if programs == 0 {
        return Ok(());
    }
    let Module {
        folder: _,
        title,
        time,
    } = module;
    talk::say(format!(
        "building {title} from `{}`: {time} the first time, seconds once Go has built it",
        module.path().display()
    ));
    let (bin, work) = (work.bin(), &work.0);
    let mut command = go(module, work);
    command.args(arguments);
    let mut build = Process::start("go-build", command, work)?;
    let (start, mut progress) = (Instant::now(), Progress::new());
    let status = loop {
        if let Some(status) = build.exit_status() {
            break status;
        }
        progress.update(&report(start.elapsed(), &built(&bin), programs));
        sleep(Duration::from_millis(200)).await;
    };
    drop(progress);
    if !status.success() {
        bail!("`go build` failed ({status}):\n{}", build.log_tail(15));
    }
    talk::say(format!("built {title} in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The programs that are linked already.
fn built(bin: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(bin)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| {
            match entry
                .file_name()
                .to_string_lossy()
                .into_owned()
            {
                name if name == "server" => "etcd".to_owned(),
                name => name,
            }
        })
        .collect();
    names.sort();
    names
}

fn report(elapsed: Duration, built: &[String], programs: usize) -> String {
    let seconds = elapsed.as_secs();
    let count = built.len();
    let mut line = format!(
        "building with Go: {}:{:02}, {count} of {programs} programs",
        seconds / 60,
        seconds % 60
    );
    if count > 0 {
        line.push_str(": ");
        line.push_str(&built.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_what_is_there() {
        let line = report(Duration::from_secs(75), &["etcd".to_owned()], 6);
        assert_eq!(line, "building with Go: 1:15, 1 of 6 programs: etcd");
    }
}
