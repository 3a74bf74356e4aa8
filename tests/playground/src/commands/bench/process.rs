//! What a process takes, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context;
use rustix::param::clock_ticks_per_second;

/// The time that a process has spent on processors so far, in itself and in the kernel. Counted in ticks of 10 ms.
pub(super) fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = stat(id)?;
    let [user, system] = [11, 12].map(|field| {
        stat.fields
            .get(field)
            .and_then(|ticks| ticks.parse::<u64>().ok())
    });
    let ticks = user
        .zip(system)
        .map(|(user, system)| user + system)
        .context("`/proc` is not as expected")?;
    Ok(Duration::from_micros(
        ticks * 1_000_000 / clock_ticks_per_second().max(1),
    ))
}

/// Whether a child has ended and was not waited for yet.
pub(super) fn has_ended(id: u32) -> bool {
    stat(id).map_or(true, |stat| {
        stat.fields
            .first()
            .is_some_and(|state| state == "Z")
    })
}

/// The memory that a process holds, in KiB.
pub(super) fn resident_kib(id: u32) -> anyhow::Result<u64> {
    status(id, "VmRSS:")
}

/// The most that it has ever held, in KiB.
pub(super) fn peak_kib(id: u32) -> anyhow::Result<u64> {
    status(id, "VmHWM:")
}

fn status(id: u32, line: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let size = status.lines().find_map(|found| {
        let size = found.strip_prefix(line)?;
        size.trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    size.with_context(|| format!("process {id} has no `{line}`"))
}

struct Stat {
    /// From the state on: the name before it may hold anything.
    fields: Vec<String>,
}

fn stat(id: u32) -> anyhow::Result<Stat> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(") ")
        .context("`/proc` is not as expected")?;
    Ok(Stat {
        fields: fields
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something() {
        let id = std::process::id();
        let start = std::time::Instant::now();
        while cpu(id).unwrap() == Duration::ZERO {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        assert!(resident_kib(id).unwrap() > 1000);
        assert!(peak_kib(id).unwrap() >= resident_kib(id).unwrap() / 2);
        assert!(!has_ended(id));
    }
}
