//! From when to when a certificate counts, read from its DER (RFC 5280, 4.1): rustls looks at that of every certificate but the one that
//! it takes for the anchor.

use rustls::pki_types::CertificateDer;

/// Why nobody takes the certificate now, by itself; None if it counts, vouches for itself, or cannot be read.
///
/// One that vouches for itself is an authority of whoever trusts it, and its dates mean nothing to them.
pub(crate) fn fault(certificate: &CertificateDer<'_>, now_unix_s: u64) -> Option<&'static str> {
    let Dates { is_own, from_unix_s, until_unix_s } = dates(certificate)?;
    let now = i64::try_from(now_unix_s).unwrap_or(i64::MAX);
    match () {
        () if is_own => None,
        () if now > until_unix_s => Some("has expired"),
        () if now < from_unix_s => Some("is not valid yet"),
        () => None,
    }
}

struct Dates {
    /// Its subject is its issuer.
    is_own: bool,
    from_unix_s: i64,
    until_unix_s: i64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXPLICIT_VERSION: u8 = 0xa0;

fn dates(certificate: &[u8]) -> Option<Dates> {
    let mut outer = Reader(certificate);
    let mut certificate = Reader(outer.sequence()?);
    let mut body = Reader(certificate.sequence()?);
    if body.0.first() == Some(&EXPLICIT_VERSION) {
        body.next()?;
    }
    let _serial = body.next()?;
    let _algorithm = body.sequence()?;
    let issuer = body.sequence()?;
    let mut validity = Reader(body.sequence()?);
    let subject = body.sequence()?;
    let (from_unix_s, until_unix_s) = (time(validity.next()?)?, time(validity.next()?)?);
    Some(Dates { is_own: issuer == subject, from_unix_s, until_unix_s })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let length = if *first < 0x80 {
            usize::from(*first)
        } else {
            let (bytes, after) =
                rest.split_at_checked(usize::from(*first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
            rest = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((*tag, content))
    }

    fn sequence(&mut self) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == SEQUENCE).map(|(_, content)| content)
    }
}

/// A time in s since 1970.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|text| text.is_ascii())?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    Some(((days(year, month, day) * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?)
}

/// Days from 1970 to a date of the present calendar, whose year is thought to begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_ways() {
        assert_eq!(time((UTC_TIME, b"700101000000Z")), Some(0));
        assert_eq!(time((UTC_TIME, b"491231235959Z")), Some(2_524_607_999));
        assert_eq!(time((GENERALIZED_TIME, b"20240229120000Z")), Some(1_709_208_000));
        assert_eq!(time((GENERALIZED_TIME, b"99991231235959Z")), Some(253_402_300_799));
        assert_eq!(time((UTC_TIME, b"7001010000")), None);
        assert_eq!(time((UTC_TIME, b"Z")), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_dates() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let whole: &[u8] = made.cert.der();
        assert!(dates(whole).is_some_and(|dates| dates.from_unix_s < dates.until_unix_s));
        for length in 0..whole.len() {
            assert!(dates(&whole[..length]).is_none(), "{length}");
        }
    }
}
