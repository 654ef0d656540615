//! A bound on how long something may take, at no cost for what is done at once.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

/// Waits for `work`, for at most `time`; none where that was not enough. The timer is made only for
/// what is not done at once: most of what is in memory is.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        Poll::Ready(done) => Some(done),
        Poll::Pending => tokio::time::timeout(time, work).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_work_or_with_the_time() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, async { 1 }).await, Some(1));
        let later = async {
            tokio::time::sleep(second / 2).await;
            2
        };
        assert_eq!(within(second, later).await, Some(2));
        assert_eq!(within(second, pending::<u8>()).await, None);
    }
}
