//! The bodies of the fuzz targets over good inputs that were broken in ways drawn from a seed.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "../../../call-protocol/fuzz/broken.rs"]
mod broken;
#[path = "../../fuzz/http.rs"]
mod http;
#[path = "../../fuzz/tokens.rs"]
mod tokens;

use broken::{Luck, broken};

fn feed(times: usize, seeds: &[Vec<u8>], check: fn(&[u8])) {
    let mut luck = Luck(7);
    for seed in seeds {
        check(seed);
        for _ in 0..times {
            let other = &seeds[luck.below(seeds.len())];
            check(&broken(&mut luck, seed, other));
        }
    }
}

#[test]
fn broken_tokens_and_parameters_are_never_taken() {
    feed(4_000, &tokens::seeds(), tokens::check);
}

#[test]
fn broken_requests_and_frames_harm_no_server() {
    feed(60, &http::seeds(), http::check);
}

/// The checks of this test would otherwise pass for a server that takes nothing.
#[test]
fn the_seeds_are_good() {
    use call_protocol::{AppId, UserId};
    use callkit_server::{AppConfig, Secret, checks_alone::Checks};
    let shop = AppConfig::new(AppId::new("shop").unwrap(), "key", "the secret of shop, long enough");
    let secrets = [Secret::new("a secret of the server that nobody else has")];
    let checks = Checks::new(std::slice::from_ref(&shop), &secrets).unwrap();
    let seeds = tokens::seeds();
    let text = |at: usize| std::str::from_utf8(&seeds[at][1..]).unwrap();
    assert_eq!(checks.access("shop", text(0)), Some(UserId::new("ann").unwrap()));
    assert_eq!(checks.channel("shop", &"room".parse().unwrap(), text(1)).unwrap().get(), 7);
    assert_eq!(checks.cc_param(text(6)).unwrap().user.as_str(), "bob");
}
