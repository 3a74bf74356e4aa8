//! One episode after another, several at a time, and a judgement of each.

use std::{sync::Arc, time::Duration};

use agentkube::{admission::Policy, images::ImageSettings};
use agentkube_playground::talk::{self, Progress};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    crew,
    episode::{self, Played, World},
    faults::Windows,
    history::History,
    judge::Judge,
    report::{Report, Violation},
};

/// How many episodes are played at a time.
const AT_A_TIME: usize = 6;
/// How often is looked after episodes that have ended.
const LOOK: Duration = Duration::from_millis(200);

/// What is played, and what came of it.
pub(super) struct Run {
    windows: Windows,
    settings: ImageSettings,
    pub(super) report: Report,
}

impl Run {
    /// Nothing is played yet.
    pub(super) fn new(seed: u64, windows: Windows) -> anyhow::Result<Self> {
        let settings = crew::settings();
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let policy = Policy::parse(settings)
            .map_err(|problems| anyhow::anyhow!("the settings are wrong: {problems:?}"))?;
        Ok(Self {
            windows,
            settings: policy.images,
            report: Report::new(seed),
        })
    }

    /// Plays episodes until the end, and those that have begun to theirs.
    pub(super) async fn play(&mut self, world: &Arc<World>, end: Instant) -> anyhow::Result<()> {
        let mut progress = Progress::new();
        let mut playing = JoinSet::new();
        let mut started = 0;
        loop {
            while playing.len() < AT_A_TIME && Instant::now() < end {
                playing.spawn(episode::play(world.clone(), self.report.seed, started));
                started += 1;
            }
            let Ok(ended) = timeout(LOOK, playing.join_next()).await else {
                world.audit.follow()?;
                let left = end
                    .saturating_duration_since(Instant::now())
                    .as_secs();
                progress.update(&format!("{left:>5} s left, {}", self.report.summary()));
                continue;
            };
            match ended {
                None => return Ok(()),
                Some(played) => self.judge(played??),
            }
        }
    }

    fn judge(&mut self, played: Played) {
        let Played {
            namespace,
            cast,
            actions,
            events,
        } = played;
        let history = History::new(events);
        let rights = cast.rights();
        let judge = Judge {
            rights: &rights,
            windows: &self.windows.all(),
            settings: &self.settings,
            namespace: &namespace,
        };
        let findings = judge.judge(&history);
        self.report.episodes += 1;
        self.report.actions += actions;
        self.report.pods += history.pods.len();
        for finding in findings {
            let violation = Violation::new(&namespace, &history, &finding);
            talk::say(format!("{violation}"));
            self.report.note(violation);
        }
    }
}
