use serde_json::json;

use super::*;
use crate::{api::Agent, reconciler::fixtures::agent};

/// The number of Agents that are fed to the leader at a time.
const AGENTS: usize = 1_000;
/// The number of rounds, so that there are 10,000 Agents.
const ROUNDS: usize = 10;
/// The number of Tools that an Agent lists.
const TOOLS: usize = 4;
/// The memory that may be left allocated in the end.
const LEFT_BYTES: i64 = 2 * 1024 * 1024;

/// The stores and queues, without an API server.
struct Feed {
    requeuer: Requeuer,
    agents: Writer<Packed<Agent>>,
}

impl Feed {
    fn new() -> Self {
        let ((agents, writer), (tools, _), (pods, _)) = (store(), store(), store());
        // Queued objects are not taken.
        let (agent_queue, _) = queue(agents.clone());
        let (tool_queue, _) = queue(tools.clone());
        Self {
            requeuer: Requeuer {
                stores: Stores {
                    agents,
                    tools,
                    pods,
                    users: Arc::default(),
                },
                agents: agent_queue,
                tools: tool_queue,
            },
            agents: writer,
        }
    }

    fn see(&mut self, event: &Event<Packed<Agent>>) {
        apply(&mut self.agents, event, |event, former| {
            self.requeuer.agent_event(event, former);
        });
    }

    /// Creates, changes and deletes Agents.
    fn round(&mut self, round: usize) {
        for version in 0..2 {
            for index in 0..AGENTS {
                self.see(&Event::Apply(numbered(round, index, version)));
            }
        }
        for index in 0..AGENTS {
            self.see(&Event::Delete(numbered(round, index, 2)));
        }
    }
}

fn numbered(round: usize, index: usize, version: usize) -> Packed<Agent> {
    let tools: Vec<_> = (0..TOOLS)
        .map(|tool| json!({"name": format!("tool-{round}-{index}-{version}-{tool}")}))
        .collect();
    let mut agent = agent(json!({"runtime": "Codex", "tools": tools}));
    agent.metadata.name = Some(format!("bot-{round}-{index}"));
    agent.into()
}

#[test]
fn everything_that_is_kept_of_an_agent_is_given_back_when_it_goes() {
    let mut feed = Feed::new();
    let kept = allocation_counter::measure(|| {
        for round in 0..ROUNDS {
            feed.round(round);
        }
    });
    assert!(
        kept.bytes_current < LEFT_BYTES,
        "{} bytes are left",
        kept.bytes_current
    );
}
