//! `docs/security.md` names tests that there are.

const TESTS: &str = concat!(
    include_str!("floods.rs"),
    include_str!("h2_attacks.rs"),
    include_str!("reflection.rs"),
    include_str!("slow.rs"),
    include_str!("tokens.rs"),
    include_str!("../operators/orders.rs"),
    include_str!("../operators/proxies.rs"),
    include_str!("../operators/tls.rs"),
    include_str!("../server/abuse.rs"),
    include_str!("../sleepers/bound.rs"),
    include_str!("../sleepers/callee.rs"),
    include_str!("../sleepers/pushes.rs"),
    include_str!("../sleepers/released.rs"),
    include_str!("../sleepers/rings.rs"),
);

#[test]
fn every_attempt_has_its_test() {
    let document = include_str!("../../../../docs/security.md");
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| attempt") && !line.starts_with("| ---"));
    let mut count = 0;
    for row in rows {
        let test = row.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test in {row}"));
        assert!(TESTS.contains(&format!("async fn {test}()")), "there is no test {test}");
        count += 1;
    }
    assert!(count >= 17, "{count}");
}
