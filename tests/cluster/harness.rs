//! Runs the tests on two control planes: one with a manager that most tests share, each in a
//! namespace of its own, and one for tests that need it for themselves, one after the other.

use std::{env, process::ExitCode, sync::LazyLock};

use agentkube_playground::{Binaries, end_everything};
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};

use crate::cluster::Cluster;

/// Tests wait most of the time, so there are more of them at once than processors.
const THREADS: usize = 8;

/// One test: its name, what it needs, what it does.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    name: &'static str,
    needs: Needs,
    run: for<'a> fn(&'a Cluster) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// What a test needs.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    /// A control plane for itself, without a manager; the test starts its own.
    ControlPlane,
    /// The manager that runs with no settings, and a namespace.
    Manager,
}

impl Test {
    pub(crate) fn new(
        name: &'static str,
        needs: Needs,
        run: for<'a> fn(&'a Cluster) -> LocalBoxFuture<'a, anyhow::Result<()>>,
    ) -> Self {
        Self { name, needs, run }
    }
}

/// Lists tests: `tests![Manager: a, b, c]`.
macro_rules! tests {
    ($needs:ident: $($test:ident),+ $(,)?) => {
        vec![$($crate::harness::Test::new(
            concat!(module_path!(), "::", stringify!($test)),
            $crate::harness::Needs::$needs,
            |cluster| Box::pin($test(cluster)),
        )),+]
    };
}
pub(crate) use tests;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime can be started"));
static SHARED: OnceCell<Result<Cluster, String>> = OnceCell::const_new();
static ALONE: OnceCell<Result<Mutex<Cluster>, String>> = OnceCell::const_new();

/// Runs the tests that the command line asks for, and leaves nothing behind.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments
        .test_threads
        .get_or_insert(THREADS);
    let available = arguments.list || is_available();
    if !available && env::var("CI").is_ok_and(|value| value == "true") {
        eprintln!("error: under CI=true the cluster tests may not be skipped");
        return ExitCode::FAILURE;
    }
    let trials = tests
        .into_iter()
        .map(|test| trial(test, available))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    end_everything();
    conclusion.exit_code()
}

/// Whether there is a control plane to test on; builds it where that is possible.
fn is_available() -> bool {
    match RUNTIME.block_on(Binaries::locate()) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("\nSKIPPED: the cluster tests need a control plane\n{error:#}\n");
            false
        }
    }
}

fn trial(test: Test, available: bool) -> Trial {
    let Test { name, needs, run } = test;
    let name = name
        .strip_prefix("cluster::")
        .unwrap_or(name);
    Trial::test(name, move || {
        RUNTIME
            .block_on(async {
                match needs {
                    Needs::Manager => run(shared().await?).await,
                    Needs::ControlPlane => run(&*alone().await?.lock().await).await,
                }
            })
            .map_err(|error| Failed::from(format!("{error:?}")))
    })
    .with_ignored_flag(!available)
}

async fn shared() -> anyhow::Result<&'static Cluster> {
    started(&SHARED, async || {
        let cluster = Cluster::start().await?;
        cluster.start_default_manager().await?;
        Ok(cluster)
    })
    .await
}

async fn alone() -> anyhow::Result<&'static Mutex<Cluster>> {
    started(&ALONE, async || Cluster::start().await.map(Mutex::new)).await
}

/// What was started for the first test that asked. A start that failed fails all of them.
async fn started<T>(
    cell: &'static OnceCell<Result<T, String>>,
    start: impl AsyncFnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<&'static T> {
    let started = cell
        .get_or_init(|| async {
            Box::pin(start())
                .await
                .map_err(|error| format!("{error:?}"))
        })
        .await;
    started
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}
