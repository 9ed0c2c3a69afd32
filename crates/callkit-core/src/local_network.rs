//! Whether this side's own network is there, which it is not when neither the server nor the other end of a call can be reached.

use signaling::Time;

/// What was told of a call's network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalNetwork {
    told_unavailable: bool,
}

impl LocalNetwork {
    /// Gives what is to be told: that it is away and how long the call lasts without it, in ms, or that it is back (`None`). `give_up` is when a call
    /// is given up whose media is interrupted.
    ///
    /// One way that stands shows that the network is there: without the server the voice goes on, and with it the path's silence is the other side's.
    pub(crate) fn update(&mut self, now: Time, has_server: bool, give_up: Option<Time>) -> Option<Option<u32>> {
        let away = give_up.filter(|_| !has_server);
        let ends_in_ms = away.map(|give_up| u32::try_from(give_up.0.saturating_sub(now.0)).unwrap_or(u32::MAX));
        let is_news = std::mem::replace(&mut self.told_unavailable, ends_in_ms.is_some()) != ends_in_ms.is_some();
        is_news.then_some(ends_in_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_both_ways_are_gone_is_it_the_own_network_and_it_is_told_once() {
        let (broken, connected) = (Some(Time(20_000)), None);
        let mut network = LocalNetwork::default();
        assert_eq!(network.update(Time(1_000), true, broken), None, "the other side's");
        assert_eq!(network.update(Time(2_000), false, connected), None, "the server's");
        assert_eq!(network.update(Time(5_000), false, broken), Some(Some(15_000)));
        assert_eq!(network.update(Time(6_000), false, broken), None);
        assert_eq!(network.update(Time(7_000), true, broken), Some(None), "the server is back");
        assert_eq!(network.update(Time(8_000), true, connected), None);
        assert_eq!(network.update(Time(9_000), false, broken), Some(Some(11_000)));
        assert_eq!(network.update(Time(9_500), false, connected), Some(None), "the path is back");
    }
}
