//! What may be said of this end's addresses.

use crate::config::IcePolicy;

impl IcePolicy {
    /// A description as the other end may see it.
    pub(crate) fn said(self, sdp: &str) -> String {
        let mut said = String::with_capacity(sdp.len());
        for line in sdp.lines() {
            match line.strip_prefix("a=candidate:") {
                Some(candidate) => {
                    if let Some(candidate) = self.said_of_candidate(candidate) {
                        said.push_str("a=candidate:");
                        said.push_str(&candidate);
                        said.push_str("\r\n");
                    }
                }
                None => {
                    said.push_str(line);
                    said.push_str("\r\n");
                }
            }
        }
        said
    }

    /// A candidate line as the other end may see it; `None` if it may not.
    ///
    /// A relay's line names the address it is related to, which is the one to be hidden (RFC 8828 section 5.2 gives
    /// zeros in its place).
    pub(crate) fn said_of_candidate(self, candidate: &str) -> Option<String> {
        match self {
            IcePolicy::All => Some(candidate.to_owned()),
            IcePolicy::RelayOnly => {
                let mut words: Vec<&str> = candidate.split_ascii_whitespace().collect();
                let kind = words.iter().position(|word| *word == "typ").and_then(|typ| words.get(typ + 1));
                if kind != Some(&"relay") {
                    return None;
                }
                for (name, nothing) in [("raddr", "0.0.0.0"), ("rport", "0")] {
                    let at = words.iter().position(|word| *word == name);
                    if let Some(value) = at.and_then(|at| words.get_mut(at + 1)) {
                        *value = nothing;
                    }
                }
                Some(words.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "1 1 udp 2130706431 192.168.1.5 50000 typ host";
    const RELAY: &str = "2 1 udp 16777215 203.0.113.7 60000 typ relay raddr 192.168.1.5 rport 50000";

    #[test]
    fn relay_only_says_relays_and_nothing_of_what_they_are_related_to() {
        let sdp = format!("v=0\r\na=candidate:{HOST}\r\na=candidate:{RELAY}\r\na=end-of-candidates\r\n");
        let said = IcePolicy::RelayOnly.said(&sdp);
        let hidden = "2 1 udp 16777215 203.0.113.7 60000 typ relay raddr 0.0.0.0 rport 0";
        assert_eq!(said, format!("v=0\r\na=candidate:{hidden}\r\na=end-of-candidates\r\n"));
        assert_eq!(IcePolicy::All.said(&sdp), sdp);
        assert_eq!(IcePolicy::RelayOnly.said_of_candidate("1 1 udp 5 192.168.1.5 5 typ"), None);
    }
}
