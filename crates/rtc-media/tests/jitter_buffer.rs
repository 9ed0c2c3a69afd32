//! The jitter buffer alone: what it decides, packet by packet, in virtual time.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

mod network;

use std::time::Instant;

use bytes::Bytes;
use network::{Network, Path, epoch, ms};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rtc_media::jitter::{Arrival, Decision, Inserted, JitterBuffer, JitterConfig, Stretch};

/// A buffer, a clock in ms, and a stand-in for the decoder that only counts samples.
struct World {
    epoch: Instant,
    now: f64,
    buffer: JitterBuffer,
    unplayed: i64,
    log: Vec<String>,
}

impl World {
    fn new() -> World {
        World::with(JitterConfig::default())
    }

    fn with(config: JitterConfig) -> World {
        World { epoch: epoch(), now: 0.0, buffer: JitterBuffer::new(config), unplayed: 0, log: Vec::new() }
    }

    fn insert(&mut self, arrival: Arrival) -> Inserted {
        self.buffer.insert(self.epoch + ms(self.now), arrival)
    }

    /// The ear takes 10 ms; what is decided goes into the log, the clock moves on.
    fn pull(&mut self) {
        while self.unplayed < 480 {
            let decision = self.buffer.pull(self.epoch + ms(self.now), self.unplayed as usize);
            let (made, line) = carry_out(&mut self.buffer, &decision);
            self.unplayed += made;
            self.log.push(line);
        }
        self.unplayed -= 480;
        self.now += 10.0;
    }

    /// Plays a clean stream of packets from `first` to before `end` up to the moment at which all were decoded.
    fn play(&mut self, packets: std::ops::Range<u16>) {
        for sequence in packets {
            self.insert(packet(sequence));
            self.pull();
            self.pull();
        }
    }

    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

fn packet(sequence: u16) -> Arrival {
    Arrival {
        sequence,
        timestamp: u32::from(sequence).wrapping_mul(960),
        samples: 960,
        has_fec: false,
        pause: false,
        payload: Bytes::copy_from_slice(&sequence.to_be_bytes()),
    }
}

fn with_fec(sequence: u16) -> Arrival {
    Arrival { has_fec: true, ..packet(sequence) }
}

/// Does what a receiver does, stretching by whatever is asked; returns samples made and a line for the log.
fn carry_out(buffer: &mut JitterBuffer, decision: &Decision) -> (i64, String) {
    let name = |payload: &Bytes| u16::from_be_bytes([payload[0], payload[1]]);
    match decision {
        Decision::Wait => (480, "wait".to_owned()),
        Decision::Decode { payload, splice, fresh, stretch } => {
            let stretched = match stretch {
                Stretch::Keep => 0,
                Stretch::Accelerate { limit, .. } => -i64::from((*limit).min(600)),
                Stretch::Expand { limit } => i64::from((*limit).min(600)),
            };
            buffer.stretched(stretched);
            let how = match (splice, fresh) {
                (_, true) => " fresh",
                (true, false) => " spliced",
                (false, false) => "",
            };
            (960 + stretched, format!("{}{how}", name(payload)))
        }
        Decision::RecoverWithFec { carrier, samples, skip } => {
            (i64::from(samples - skip), format!("fec in {}", name(carrier)))
        }
        Decision::Conceal { samples } => (i64::from(*samples), format!("conceal {samples}")),
        Decision::ComfortNoise { samples } => (i64::from(*samples), format!("noise {samples}")),
    }
}

#[test]
fn the_first_packet_waits_for_the_start_delay_and_no_longer_than_forty_milliseconds() {
    let mut world = World::new();
    world.pull();
    for sequence in 0..3 {
        world.insert(packet(sequence));
        world.pull();
        world.pull();
    }
    let log = world.take_log();
    let waited = log.iter().take_while(|line| *line == "wait").count();
    assert_eq!(log[waited], "0 fresh");
    assert!((2..=4).contains(&(waited - 1)), "{log:?}");
}

#[test]
fn packets_out_of_order_are_played_in_order() {
    let mut world = World::with(JitterConfig { min_delay_ms: 60, start_delay_ms: 60, ..JitterConfig::default() });
    for pair in (0..200u16).step_by(2) {
        world.insert(packet(pair + 1));
        world.pull();
        world.pull();
        world.insert(packet(pair));
        world.pull();
        world.pull();
    }
    let played: Vec<u16> = world.log.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert!(played.len() > 190);
    assert!(played.windows(2).all(|pair| pair[1] == pair[0] + 1), "{played:?}");
    assert_eq!(world.buffer.arrivals().reordered, 100);
    assert_eq!(world.buffer.arrivals().lost, 0);
}

#[test]
fn a_packet_is_played_once_however_often_it_comes() {
    let mut world = World::new();
    world.play(0..50);
    assert_eq!(world.insert(packet(50)), Inserted::Stored);
    assert_eq!(world.insert(packet(50)), Inserted::Duplicate, "while it waits");
    assert_eq!(world.insert(packet(20)), Inserted::Duplicate, "after it was played");
    world.play(51..60);
    assert_eq!(world.take_log().iter().filter(|line| line.starts_with("50")).count(), 1);
    assert_eq!(world.buffer.arrivals().duplicate, 2);
    assert_eq!(world.buffer.arrivals().received, 60);
}

#[test]
fn sequence_and_timestamp_wrap() {
    let mut world = World::new();
    let at = |n: u32| Arrival {
        sequence: 65_500u16.wrapping_add(n as u16),
        timestamp: (u32::MAX - 20 * 960).wrapping_add(n * 960),
        ..packet(n as u16)
    };
    for n in 0..100 {
        assert_eq!(world.insert(at(n)), Inserted::Stored);
        world.pull();
        world.pull();
    }
    let log = world.take_log();
    let start = log.iter().position(|line| line == "0 fresh").unwrap();
    assert!(log[start + 1..].iter().enumerate().all(|(n, line)| *line == (n + 1).to_string()), "{log:?}");
    assert_eq!(world.buffer.arrivals().lost, 0);
}

#[test]
fn a_single_loss_is_recovered_from_the_copy_in_the_next_packet() {
    let mut world = World::with(JitterConfig { min_delay_ms: 30, ..JitterConfig::default() });
    world.play(0..100);
    world.take_log();
    world.pull();
    world.pull();
    world.insert(with_fec(101));
    world.pull();
    world.pull();
    world.play(102..105);
    let log = world.take_log();
    let recovered = log.iter().position(|line| line == "fec in 101").expect("the copy is used");
    assert_eq!(log[recovered + 1], "101");
    assert!(log.iter().all(|line| !line.starts_with("conceal")), "{log:?}");
    assert_eq!(world.buffer.arrivals().lost, 1);
}

#[test]
fn a_loss_without_a_copy_is_concealed_in_its_length() {
    let mut world = World::with(JitterConfig { min_delay_ms: 30, ..JitterConfig::default() });
    world.play(0..100);
    world.take_log();
    world.pull();
    world.pull();
    world.play(101..105);
    let log = world.take_log();
    let gap = log.iter().position(|line| line == "conceal 960").expect("it is concealed");
    assert_eq!(log[gap + 1], "101");
}

#[test]
fn of_a_burst_the_last_packet_is_recovered_and_the_rest_concealed() {
    let mut world = World::with(JitterConfig { min_delay_ms: 90, start_delay_ms: 90, ..JitterConfig::default() });
    world.play(0..100);
    world.take_log();
    for _ in 0..6 {
        world.pull();
    }
    world.insert(with_fec(103));
    world.pull();
    world.pull();
    world.play(104..112);
    let log = world.take_log();
    let gap = log.iter().position(|line| line.starts_with("conceal")).expect("the burst is concealed");
    assert_eq!(&log[gap..gap + 4], ["conceal 960", "conceal 960", "fec in 103", "103"], "{log:?}");
}

#[test]
fn a_packet_that_comes_after_it_was_recovered_is_late() {
    let mut world = World::with(JitterConfig { min_delay_ms: 30, ..JitterConfig::default() });
    world.play(0..100);
    world.pull();
    world.pull();
    world.insert(with_fec(101));
    for _ in 0..4 {
        world.pull();
    }
    assert_eq!(world.insert(packet(100)), Inserted::Late);
    assert_eq!(world.insert(packet(100)), Inserted::Duplicate);
    let arrivals = world.buffer.arrivals();
    assert_eq!((arrivals.late, arrivals.lost, arrivals.duplicate), (1, 0, 1));
}

#[test]
fn a_late_packet_into_an_empty_buffer_is_still_played() {
    let mut world = World::new();
    world.play(0..100);
    world.take_log();
    for _ in 0..8 {
        world.pull();
    }
    assert_eq!(world.insert(packet(100)), Inserted::Stored);
    world.insert(packet(101));
    world.pull();
    let log = world.take_log();
    assert!(log.iter().filter(|line| *line == "conceal 480").count() >= 4, "{log:?}");
    assert_eq!(log.last().unwrap(), "100 spliced");
}

#[test]
fn the_delay_grows_with_jitter_and_shrinks_again() {
    let mut world = World::new();
    let delay_after = |world: &mut World, path: Path, packets: std::ops::Range<u16>| {
        let mut network = Network::seeded(7, path);
        let origin = world.now;
        let mut arrivals: Vec<(f64, u16)> = packets
            .clone()
            .flat_map(|n| {
                let sent = origin + f64::from(n - packets.start) * 20.0;
                network.send(sent).into_iter().map(move |arrival| (arrival, n))
            })
            .collect();
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
        let end = origin + f64::from(packets.end - packets.start) * 20.0;
        let mut next = 0;
        while world.now < end {
            while next < arrivals.len() && arrivals[next].0 <= world.now {
                let (at, n) = arrivals[next];
                world.buffer.insert(world.epoch + ms(at), packet(n));
                next += 1;
            }
            world.pull();
        }
        (world.buffer.delay_ms(), world.buffer.target_ms())
    };
    let (clean, _) = delay_after(&mut world, Path { delay: 0.0, ..Path::default() }, 0..500);
    assert!((6.0..=25.0).contains(&clean), "{clean} ms on a clean path");
    let jittery = Path { delay: 0.0, jitter: 25.0, reorders: true, ..Path::default() };
    let (bad, target) = delay_after(&mut world, jittery, 500..1500);
    assert!((60.0..=220.0).contains(&bad), "{bad} ms with jitter");
    assert!((bad - target).abs() < 30.0, "{bad} ms, aimed at {target}");
    let (clean, _) = delay_after(&mut world, Path { delay: 0.0, ..Path::default() }, 1500..4500);
    assert!((6.0..=25.0).contains(&clean), "{clean} ms after the jitter is gone");
}

#[test]
fn loss_makes_it_wait_for_the_copy_and_a_clean_path_no_longer() {
    let mut world = World::new();
    let feed = |world: &mut World, packets: std::ops::Range<u16>, every: u16| {
        for n in packets {
            if n % every != 3 {
                world.insert(with_fec(n));
            }
            world.pull();
            world.pull();
        }
        world.buffer.target_ms()
    };
    let clean = feed(&mut world, 0..300, u16::MAX);
    let lossy = feed(&mut world, 300..800, 20);
    assert!(lossy >= clean + 10.0 && lossy >= 20.0, "{clean} ms, then {lossy} ms");
    world.take_log();
    feed(&mut world, 800..1000, 20);
    let log = world.take_log();
    assert!(log.iter().filter(|line| line.starts_with("fec")).count() >= 9, "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("conceal")), "{log:?}");
    let clean_again = feed(&mut world, 1000..2500, u16::MAX);
    assert_eq!(clean_again, clean);
}

#[test]
fn after_an_outage_the_heap_of_old_packets_is_left_out() {
    let mut world = World::new();
    world.play(0..200);
    for _ in 0..200 {
        world.pull();
    }
    for sequence in 200..300 {
        world.insert(packet(sequence));
    }
    world.play(300..400);
    assert!(world.buffer.delay_ms() < 60.0, "{} ms", world.buffer.delay_ms());
    assert!(world.buffer.arrivals().late > 80);
    let last = world.log.last().unwrap();
    assert!(["398", "399"].contains(&last.as_str()), "{last}");
}

#[test]
fn a_pause_of_the_sender_is_no_loss_and_ends_at_the_target_delay() {
    let mut world = World::new();
    world.play(0..100);
    world.insert(Arrival { pause: true, ..packet(100) });
    world.take_log();
    for _ in 0..100 {
        world.pull();
    }
    let log = world.take_log();
    assert!(log.iter().all(|line| !line.starts_with("conceal")), "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("noise")), "{log:?}");
    // A second later, in its place by the timestamp, comes the next number.
    for n in 0..20u32 {
        world.insert(Arrival { timestamp: (150 + n) * 960, ..packet(101 + n as u16) });
        world.pull();
        world.pull();
    }
    let log = world.take_log();
    assert!(log.contains(&"101 spliced".to_owned()), "{log:?}");
    assert!(log.iter().all(|line| !line.starts_with("conceal")), "{log:?}");
    assert!((5.0..=30.0).contains(&world.buffer.delay_ms()), "{}", world.buffer.delay_ms());
    assert_eq!(world.buffer.arrivals().lost, 0);
}

#[test]
fn a_jump_of_the_timestamp_alone_is_a_pause_too() {
    let mut world = World::new();
    world.play(0..100);
    for _ in 0..50 {
        world.pull();
    }
    world.take_log();
    for n in 0..20u32 {
        world.insert(Arrival { timestamp: (125 + n) * 960, ..packet(100 + n as u16) });
        world.pull();
        world.pull();
    }
    assert!(world.take_log().contains(&"100 spliced".to_owned()));
    assert_eq!(world.buffer.arrivals().lost, 0);
}

#[test]
fn another_stream_takes_over_with_its_second_packet() {
    let mut world = World::new();
    world.play(0..100);
    world.take_log();
    let other = |n: u16| Arrival {
        sequence: 40_000 + n,
        timestamp: 3_000_000_000u32.wrapping_add(u32::from(n) * 960),
        ..packet(1000 + n)
    };
    assert_eq!(world.insert(other(0)), Inserted::Doubtful);
    world.pull();
    world.pull();
    assert_eq!(world.insert(other(1)), Inserted::Restarted);
    for n in 2..20 {
        world.pull();
        world.pull();
        assert_eq!(world.insert(other(n)), Inserted::Stored);
    }
    let log = world.take_log();
    let start = log.iter().position(|line| line == "1000 fresh").expect("not even its first packet is missed");
    assert_eq!(log[start + 1], "1001");
    assert_eq!(world.buffer.arrivals().restarts, 1);
    assert_eq!(world.buffer.arrivals().lost, 0);
}

#[test]
fn one_stray_packet_does_not_disturb_the_stream() {
    let mut world = World::new();
    world.play(0..100);
    assert_eq!(world.insert(Arrival { sequence: 30_000, ..packet(7) }), Inserted::Doubtful);
    world.play(100..110);
    assert_eq!(world.insert(Arrival { sequence: 50_000, ..packet(7) }), Inserted::Doubtful);
    world.play(110..120);
    let log = world.take_log();
    assert!(log.iter().any(|line| line == "115"), "{log:?}");
    assert!(log.iter().all(|line| !line.starts_with("conceal")), "{log:?}");
    assert_eq!(world.buffer.arrivals().restarts, 0);
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    let mut world = World::new();
    // Transit alternates by 10 ms: the filter settles at 10 ms.
    for n in 0..400u16 {
        world.now = f64::from(n) * 20.0 + if n % 2 == 0 { 0.0 } else { 10.0 };
        world.insert(packet(n));
    }
    let jitter = world.buffer.arrivals().jitter_ms;
    assert!((jitter - 10.0).abs() < 0.1, "{jitter} ms");
}

/// A path drawn from a seed: any mixture of what networks do.
fn random_path(random: &mut ChaCha8Rng) -> Path {
    let mut sometimes =
        |chance: f64, most: f64| if random.random_bool(chance) { random.random::<f64>() * most } else { 0.0 };
    Path {
        delay: 5.0 + sometimes(0.8, 200.0),
        jitter: sometimes(0.7, 40.0),
        loss: sometimes(0.5, 0.3),
        burst: (sometimes(0.4, 0.05), 1.0 + sometimes(1.0, 6.0)),
        spike: (sometimes(0.4, 0.01), sometimes(1.0, 800.0)),
        duplicates: sometimes(0.3, 0.1),
        reorders: sometimes(0.5, 1.0) > 0.5,
        step: (10_000.0, sometimes(0.3, 150.0)),
    }
}

#[test]
fn on_any_network_packets_are_played_at_most_once_in_order_and_the_delay_follows() {
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let path = random_path(&mut random);
        let drift = 1.0 + random.random_range(-200.0..200.0) * 1e-6;
        let first: u16 = random.random();
        let mut network = Network::seeded(seed, path.clone());
        let mut arrivals: Vec<(f64, u16)> = (0..1500u16)
            .flat_map(|n| network.send(f64::from(n) * 20.0 * drift).into_iter().map(move |at| (at, n)))
            .collect();
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));

        let mut world = World::new();
        let mut coming = arrivals.iter().peekable();
        while world.now < 30_000.0 {
            while let Some(&(at, n)) = coming.next_if(|(at, _)| *at <= world.now) {
                let arrival = Arrival { has_fec: n % 3 != 0, sequence: first.wrapping_add(n), ..packet(n) };
                world.buffer.insert(world.epoch + ms(at), arrival);
            }
            world.pull();
        }
        let played: Vec<u16> = world.log.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
        assert!(played.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {path:?}");
        let arrivals = world.buffer.arrivals();
        let not_played = arrivals.received - played.len() as u64;
        assert!(not_played <= arrivals.late + 60, "seed {seed}: {not_played} not played, {arrivals:?}");
        assert_eq!(arrivals.restarts, 0, "seed {seed}: {path:?}");
        let (delay, target) = (world.buffer.delay_ms(), world.buffer.target_ms());
        assert!(target <= 500.0 && delay < target + 900.0, "seed {seed}: {delay} ms, aimed at {target}: {path:?}");
        let calm = path.spike.0 == 0.0 && path.burst.0 == 0.0 && path.loss == 0.0;
        let guessed = world.log.iter().filter(|line| line.starts_with("conceal")).count();
        assert!(!calm || guessed < 150, "seed {seed}: guessed {guessed} times: {path:?}");
        assert!(!calm || (delay - target).abs() < 120.0, "seed {seed}: {delay} ms, aimed at {target}: {path:?}");
    }
}
