//! By what a device and its shell name what they talk about.

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub u64);
        )*
    };
}

number_id! {
    /// A command of the app; numbered by the shell, each number once.
    CommandId;
    /// A call, for as long as a device lives: it stays where two calls become one and the call id changes.
    CallKey;
    /// A stream to the server; numbered by the device, but for the first one, which is 0.
    StreamId;
    /// A media path to one other device; numbered by the device, in the order in which paths are opened.
    PathId;
    /// A question to one of the app's handlers; numbered by the device.
    RequestId;
    /// One run of the audio engine; numbered by the device. Notices of an earlier run mean nothing.
    AudioSessionId;
    /// A microphone or a loudspeaker that the app has chosen; numbered by the shell, each number once. The first of each kind is 1.
    AudioDeviceId;
}
