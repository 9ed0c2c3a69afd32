//! Time that stands still but for the steps a test takes, while sockets are real.

/// Keeps paused time from running ahead to the next timer whenever nothing but the network has something to do: the runtime does
/// that only while no blocking task is under way.
pub struct Stillness {
    _end: std::sync::mpsc::Sender<()>,
}

impl Stillness {
    pub fn begin() -> Stillness {
        let (end, ended) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv());
        Stillness { _end: end }
    }
}
