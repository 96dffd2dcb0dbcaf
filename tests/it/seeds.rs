//! What runs at random have in common. Seeds of simulations: each decides all that happens in one run. Cases of properties: proptest
//! chooses them, and makes one that fails smaller.
//!
//! `ADLAKE_SEEDS=2000` runs that many seeds; a failure names its seed, `ADLAKE_SEED=17` runs that one alone. `ADLAKE_CASES=1000` runs
//! that many cases.

use std::future::Future;
use std::task::Poll;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Runs `simulate` with every seed, `count` of them unless the environment says otherwise.
pub fn run<F: Future<Output = Result<(), String>>>(count: u64, simulate: impl Fn(u64) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let seeds = match number("ADLAKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ADLAKE_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        let outcome = runtime.block_on(simulate(seed));
        assert!(outcome.is_ok(), "ADLAKE_SEED={seed}: {}", outcome.unwrap_err());
    }
}

/// Checks what `inputs` chooses, `cases` times unless the environment says otherwise.
pub fn property<S, F>(cases: u32, inputs: S, check: impl Fn(S::Value) -> F)
where
    S: Strategy,
    F: Future<Output = Result<(), TestCaseError>>,
{
    let cases = number("ADLAKE_CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(cases);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() });
    runner.run(&inputs, |input| runtime.block_on(check(input))).unwrap();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Polls the work a few times, then lets it fall, as a crash or a lost client would.
pub async fn abandon<F: Future>(work: F, polls: u32) -> Option<F::Output> {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
