//! This side's own network: when it changes, and whether it is there, which it is not when neither the server nor the other end of a call can be
//! reached.

use call_protocol::CallId;
use rtc_transport::{Interfaces, NetworkWatch};
use signaling::Time;
use tokio::sync::mpsc;

use crate::core::{Core, Report};
use crate::events::CallKitEvent;
use crate::media::{Media, PathLink};

/// Tells the owner loop when the addresses of the machine change, for as long as it lives.
pub(crate) async fn watch_network(interfaces: Interfaces, reports: mpsc::Sender<Report>) {
    let mut watch = NetworkWatch::of(interfaces, rtc_transport::runtime::tokio());
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = reports.closed() => return,
        }
        if reports.send(Report::NetworkChanged).await.is_err() {
            return;
        }
    }
}

/// What was told of a call's network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnNetwork {
    told_unavailable: bool,
}

impl OwnNetwork {
    /// Gives what is to be told: that it is away and how long the call lasts without it, in ms, or that it is back (`None`).
    ///
    /// One way that stands shows that the network is there: without the server the voice goes on, and with it the path's silence is the other side's.
    fn update(&mut self, now: Time, server: bool, link: PathLink) -> Option<Option<u32>> {
        let ends_in_ms = match link {
            PathLink::Interrupted { give_up, .. } if !server => {
                Some(u32::try_from(give_up.0.saturating_sub(now.0)).unwrap_or(u32::MAX))
            }
            PathLink::Idle | PathLink::SettingUp { .. } | PathLink::Connected | PathLink::Interrupted { .. } => None,
        };
        let is_news = std::mem::replace(&mut self.told_unavailable, ends_in_ms.is_some()) != ends_in_ms.is_some();
        is_news.then_some(ends_in_ms)
    }
}

impl Core {
    /// Tells what has changed. Called when the link to the server or a path has.
    pub(crate) fn update_network(&mut self) {
        let (now, server) = (self.now().mono, self.connected);
        let update = |media: &mut Media| Some((media.call_id, media.own_network.update(now, server, media.link)?));
        let news: Vec<(CallId, Option<u32>)> = self.calls.values_mut().filter_map(update).collect();
        for (call_id, ends_in_ms) in news {
            let (available, ends_in_ms) = (ends_in_ms.is_none(), ends_in_ms.unwrap_or(0));
            self.tell_of(call_id, CallKitEvent::NetworkAvailable { call_id, available, ends_in_ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_both_ways_are_gone_is_it_the_own_network_and_it_is_told_once() {
        let broken = PathLink::Interrupted { give_up: Time(20_000), restart: Time(0), since: Time(0) };
        let mut network = OwnNetwork::default();
        assert_eq!(network.update(Time(1_000), true, broken), None, "the other side's");
        assert_eq!(network.update(Time(2_000), false, PathLink::Connected), None, "the server's");
        assert_eq!(network.update(Time(5_000), false, broken), Some(Some(15_000)));
        assert_eq!(network.update(Time(6_000), false, broken), None);
        assert_eq!(network.update(Time(7_000), true, broken), Some(None), "the server is back");
        assert_eq!(network.update(Time(8_000), true, PathLink::Connected), None);
        assert_eq!(network.update(Time(9_000), false, broken), Some(Some(11_000)));
        assert_eq!(network.update(Time(9_500), false, PathLink::Connected), Some(None), "the path is back");
    }
}
