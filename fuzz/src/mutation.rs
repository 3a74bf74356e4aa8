//! Changes to JSON that leave it JSON: bytes that are changed at random are refused by the first
//! parser, and what stands behind it is never reached.

use serde_json::{Map, Value, json};

/// Members and texts that rules look at, and that need care.
const WORDS: &[&str] = &[
    "",
    " ",
    "a",
    "é",
    "~0/~1",
    "\u{1b}[31m",
    "\0",
    "CREATE",
    "UPDATE",
    "DELETE",
    "agents",
    "tools",
    "pods",
    "ephemeralcontainers",
    "agentkube.io",
    "agentkube.io/agent",
    "agentkube.io/tool",
    "agentkube.io/images",
    "agentkube.io/agent-generation",
    "agentkube.io/tool-generation",
    "agentkube.io/v1alpha1",
    "kubernetes.io/config.mirror",
    "agentkube.invalid/agent",
    "agentkube.invalid/tool",
    "agentkube.invalid/agentlet",
    "agentkube.invalid/codex",
    "agentkube.invalid/",
    "docker.io/adaptivelive/codex:v0.2.0",
    "adaptivelive/aider",
    "nginx",
    "quay.io/team/app:v1",
    "https://quay.io/app",
    "Always",
    "IfNotPresent",
    "Never",
    "ANTHROPIC_API_KEY",
    "mirror",
    "own",
    "ClaudeCode",
    "Codex",
    "Custom",
    "custom",
    "ssh",
    "supervised",
    "15m",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "user:password@host/app",
    "[{\"container\":\"a\",\"component\":\"Codex\",\"image\":\"a/b\",\"source\":\"default\"}]",
];

/// The names of members that are read.
const MEMBERS: &[&str] = &[
    "name",
    "image",
    "imagePullPolicy",
    "env",
    "value",
    "valueFrom",
    "containers",
    "initContainers",
    "ephemeralContainers",
    "volumes",
    "reference",
    "pullPolicy",
    "imagePullSecrets",
    "labels",
    "annotations",
    "metadata",
    "spec",
    "deletionTimestamp",
    "ownerReferences",
    "controller",
    "uid",
    "runtime",
    "type",
    "agentToken",
    "secretRef",
    "key",
    "goal",
    "inline",
    "configMapKeyRef",
    "tools",
    "object",
    "oldObject",
    "dryRun",
    "config",
    "credentialsRef",
    "x~/é",
    "paused",
    "agentkube.io/agent",
    "agentkube.io/tool",
];

/// Changes what stands in the first `size` bytes, and says how many they are now: one time in eight
/// as libFuzzer does, otherwise by [`json`].
pub fn mutate(data: &mut [u8], size: usize, longest: usize, seed: u32) -> usize {
    let changed = if seed.is_multiple_of(8) {
        None
    } else {
        json(&data[..size], longest, seed)
    };
    match changed {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, longest),
    }
}

/// Changes the JSON in one to four places; `None` where it is none, or would become too long.
#[must_use]
pub fn json(text: &[u8], longest: usize, seed: u32) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(text).ok()?;
    let mut random = Random(u64::from(seed));
    for _ in 0..=random.below(4) {
        let count = count(&value);
        let at = random.below(count);
        change(&mut value, at, &mut random);
    }
    let changed = serde_json::to_vec(&value).ok()?;
    (changed.len() <= longest).then_some(changed)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value with the index `at`, counted from the root in the order of the text.
fn change(value: &mut Value, at: usize, random: &mut Random) {
    if at == 0 {
        change_here(value, random);
        return;
    }
    let mut at = at - 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let size = count(child);
        if at < size {
            change(child, at, random);
            return;
        }
        at -= size;
    }
}

fn change_here(value: &mut Value, random: &mut Random) {
    match value {
        Value::Array(items) if random.below(8) > 0 => change_list(items, random),
        Value::Object(members) if random.below(16) > 0 => change_object(members, random),
        Value::String(text) if random.below(4) == 0 => {
            let end = text
                .char_indices()
                .nth(random.below(text.len() + 1));
            text.truncate(end.map_or(text.len(), |(at, _)| at));
            text.push_str(random.pick(WORDS));
        }
        _ => *value = fresh(random),
    }
}

fn change_list(items: &mut Vec<Value>, random: &mut Random) {
    let at = random.below(items.len().max(1));
    match random.below(5) {
        0 if !items.is_empty() => drop(items.remove(at)),
        1 | 2 if !items.is_empty() => items.insert(at, items[at].clone()),
        3 if !items.is_empty() => {
            let last = items.len() - 1;
            items.swap(at, last);
        }
        _ => items.push(fresh(random)),
    }
}

fn change_object(members: &mut Map<String, Value>, random: &mut Random) {
    let names: Vec<String> = members.keys().cloned().collect();
    let name = names.get(random.below(names.len().max(1)));
    match (random.below(5), name) {
        (0, Some(name)) => drop(members.remove(name)),
        (1, Some(name)) => {
            if let Some(value) = members.remove(name) {
                members.insert(random.pick(MEMBERS).to_string(), value);
            }
        }
        (2, Some(name)) => {
            let value = members
                .get(name)
                .cloned()
                .unwrap_or_default();
            members.insert(random.pick(MEMBERS).to_string(), value);
        }
        _ => {
            members.insert(random.pick(MEMBERS).to_string(), fresh(random));
        }
    }
}

fn fresh(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(random.below(2) == 0),
        4 => json!(random.next() >> random.below(64)),
        5 => json!({"name": random.pick(WORDS), "image": random.pick(WORDS)}),
        6 => json!([{"name": "a", "image": random.pick(WORDS), "imagePullPolicy": "Always"}]),
        7 => json!({"name": random.pick(WORDS), "key": random.pick(WORDS)}),
        _ => json!(random.pick(WORDS)),
    }
}

/// `SplitMix64`: small, and the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}
