//! The figures of one call.

use std::time::Duration;

use futures_util::Stream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::{Call, CallState};
use crate::request::Request;
use crate::statistics::CallStatistics;

impl Call {
    /// The figures at present; `None` unless they were asked for with the call's options, and before media is set up.
    pub async fn statistics(&self) -> Option<CallStatistics> {
        let (reply, figures) = oneshot::channel();
        self.line.requests()?.send(Request::CallStatistics(self.key, reply)).ok()?;
        figures.await.ok().flatten()
    }

    /// The figures at this interval, from when media is set up until the call is over.
    pub fn statistics_stream(&self, every: Duration) -> impl Stream<Item = CallStatistics> + Send + Unpin + use<> {
        let mut ticks = interval(every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let states = (self.clone(), ticks);
        Box::pin(futures_util::stream::unfold(states, |(call, mut ticks)| async move {
            while call.state() != CallState::Disconnected {
                ticks.tick().await;
                if let Some(figures) = call.statistics().await {
                    return Some((figures, (call, ticks)));
                }
            }
            None
        }))
    }
}
