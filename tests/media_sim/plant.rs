//! Mistakes made on purpose: a check that never sees anything proves nothing.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A device speaks as soon as it has a path.
    VoiceBeforeAccept,
    /// A device keeps its paths when the call is over.
    PathsOutliveTheCall,
    /// Nothing is said on the media path.
    NothingOnThePath,
    /// Nobody follows a change of addresses, or looks for a new way after it.
    NobodyRebinds,
    /// The app hears of each end twice.
    EndedTwice,
}
