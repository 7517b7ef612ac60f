use std::time::{Duration, Instant};

/// No condition here takes so long to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`; between two questions other tasks run.
///
/// # Panics
/// When it never is.
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "never came true: {what}");
        tokio::task::yield_now().await;
    }
}
