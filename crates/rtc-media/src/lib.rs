#![doc = "placeholder"]
mod device;
mod encoder;
mod frame;
pub mod jitter;
mod level;
mod mixer;
mod opus_packet;
mod receiver;
mod resample;
pub mod score;
mod speech;
mod stretch;

pub use self::{
    device::{
        AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError, Direction, ReadOutcome, Recording, input_devices,
        output_devices,
    },
    encoder::{CodecError, EncodedVoice, PACKET_SAMPLES, VoiceEncoder, VoiceEncoderConfig},
    frame::{FRAME_SAMPLES, Frame, SAMPLE_RATE},
    level::{AudioLevel, LevelMeter, LevelReading},
    mixer::Mixer,
    receiver::{ReceiverStats, VoicePacket, VoiceReceiver, VoiceReceiverConfig},
    speech::SPEECH_WAV,
};
