//! Background tasks that end with the process: spawned here, cancelled together, awaited together, panics reported.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks with one stop signal. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal every task of this group should watch.
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Runs `work` until it ends by itself. It is awaited, not aborted, by [`Tasks::stop`]; a panic is logged with `name`.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let inner = tokio::spawn(work);
        self.tracker.spawn(async move {
            if let Err(failure) = inner.await
                && failure.is_panic()
            {
                tracing::error!(task = name, "task panicked; this is a bug, please report it with the log above");
            }
        })
    }

    /// Signals every task to stop and waits for them, at most `grace`. Returns whether all ended in time.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
