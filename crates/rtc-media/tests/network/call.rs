//! One direction of a call in virtual time: real encoder, simulated network, real receiver.

use std::time::Instant;

use rtc_media::{
    AudioInput, Frame, ReceiverStats, VoiceEncoder, VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig,
};

use super::{Network, Path, epoch, ms};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    pub(crate) path: Path,
    pub(crate) encoder: VoiceEncoderConfig,
    pub(crate) receiver: VoiceReceiverConfig,
    pub(crate) input: AudioInput,
    /// How much faster the sender's clock runs.
    pub(crate) drift_ppm: f64,
    pub(crate) first_sequence: u16,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seed: 1,
            seconds: 20.0,
            path: Path::default(),
            encoder: VoiceEncoderConfig::default(),
            receiver: VoiceReceiverConfig::default(),
            input: AudioInput::Speech { looped: true },
            drift_ppm: 0.0,
            first_sequence: 0,
        }
    }
}

pub(crate) struct Outcome {
    pub(crate) spoken: Vec<f32>,
    pub(crate) heard: Vec<f32>,
    pub(crate) stats: ReceiverStats,
    pub(crate) packets: u64,
    pub(crate) network_lost: u64,
    /// Delay of the buffer (ms) at each 10 ms.
    pub(crate) delays: Vec<f32>,
}

impl Outcome {
    pub(crate) fn concealed_share(&self) -> f64 {
        self.stats.concealed_samples as f64 / self.stats.total_samples.max(1) as f64
    }
}

/// What the sender puts on the wire, with arrival times.
pub(crate) struct Traffic {
    pub(crate) spoken: Vec<f32>,
    pub(crate) packets: u64,
    pub(crate) network_lost: u64,
    /// Sorted by arrival (ms).
    pub(crate) arrivals: Vec<(f64, VoicePacket)>,
}

pub(crate) fn send(plan: &Plan) -> Traffic {
    let mut source = plan.input.open().unwrap();
    let mut encoder = VoiceEncoder::new(plan.encoder.clone()).unwrap();
    let mut network = Network::seeded(plan.seed, plan.path.clone());
    let mut traffic = Traffic { spoken: Vec::new(), packets: 0, network_lost: 0, arrivals: Vec::new() };
    let mut sequence = plan.first_sequence;
    let mut frame = Frame::default();
    let tick = 10.0 / (1.0 + plan.drift_ppm * 1e-6);
    for n in 0..(plan.seconds * 100.0) as u64 {
        source.read(&mut frame).unwrap();
        traffic.spoken.extend_from_slice(&frame.0);
        let Some(encoded) = encoder.push(&frame).unwrap() else {
            continue;
        };
        let packet = VoicePacket {
            sequence,
            timestamp: encoded.timestamp,
            marker: encoded.marker,
            payload: encoded.payload.into(),
        };
        sequence = sequence.wrapping_add(1);
        traffic.packets += 1;
        let sent = (n + 1) as f64 * tick;
        traffic.arrivals.extend(network.send(sent).into_iter().map(|arrival| (arrival, packet.clone())));
    }
    traffic.network_lost = network.lost;
    traffic.arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    traffic
}

/// Feeds arrivals (ms, sorted) to a receiver that is pulled every 10 ms.
pub(crate) fn receive(
    epoch: Instant,
    receiver: &mut VoiceReceiver,
    arrivals: &[(f64, VoicePacket)],
    until: f64,
) -> (Vec<f32>, Vec<f32>) {
    let mut heard = Vec::new();
    let mut delays = Vec::new();
    let mut next = 0;
    for n in 0..(until / 10.0) as u64 {
        // The ear's clock has nothing to do with the sender's: 3.7 ms off its grid.
        let now = n as f64 * 10.0 + 3.7;
        while next < arrivals.len() && arrivals[next].0 <= now {
            receiver.insert(epoch + ms(arrivals[next].0), arrivals[next].1.clone());
            next += 1;
        }
        let frame = receiver.pull(epoch + ms(now));
        assert!(frame.0.iter().all(|sample| sample.is_finite()));
        heard.extend_from_slice(&frame.0);
        delays.push(receiver.stats().delay_ms);
    }
    (heard, delays)
}

pub(crate) fn run(plan: &Plan) -> Outcome {
    let traffic = send(plan);
    let mut receiver = VoiceReceiver::new(plan.receiver.clone()).unwrap();
    let (heard, delays) = receive(epoch(), &mut receiver, &traffic.arrivals, plan.seconds * 1000.0);
    Outcome {
        spoken: traffic.spoken,
        heard,
        stats: receiver.stats(),
        packets: traffic.packets,
        network_lost: traffic.network_lost,
        delays,
    }
}
