//! What reports say of a certificate, read from its DER (RFC 5280 §4.1): when it is valid, and for which names.
//!
//! Nothing is decided by this: the other side of a connection judges a certificate, and rustls does it where we are that
//! side.

use std::time::{Duration, SystemTime};

use time::{Date, Month, PrimitiveDateTime, Time};

use self::X509Error::Malformed;

/// What is known of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct X509 {
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last moment.
    pub not_after: SystemTime,
    /// DNS names in lower case, in its order; wildcards begin with `*.`. Without a subjectAltName that has names, the
    /// common name of the subject.
    pub names: Vec<String>,
}

/// It is no certificate as RFC 5280 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum X509Error {
    /// Not its elements, in their order.
    #[error("it is none of X.509")]
    Malformed,
    /// It can't say whom it is for.
    #[error("it is one of X.509 version 1, which says nothing of names; make one of version 3")]
    OldVersion,
}

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0] version`
const VERSION: u8 = 0xa0;
const VERSION_3: [u8; 3] = [0x02, 0x01, 0x02];
/// `[1] issuerUniqueID`, `[2] subjectUniqueID`
const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
/// `[3] extensions`
const EXTENSIONS: u8 = 0xa3;
/// `[2] dNSName` of a GeneralName
const DNS_NAME: u8 = 0x82;

/// 2.5.29.17
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

impl X509 {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub fn read(der: &[u8]) -> Result<Self, X509Error> {
        let mut certificate = Reader(Reader(der).take(SEQUENCE)?);
        let mut fields = Reader(certificate.take(SEQUENCE)?);
        if fields.take(VERSION).map_err(|_| X509Error::OldVersion)? != VERSION_3 {
            return Err(X509Error::OldVersion);
        }
        fields.next()?; // serialNumber
        fields.take(SEQUENCE)?; // signature
        fields.take(SEQUENCE)?; // issuer
        let mut validity = Reader(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (moment(validity.next()?)?, moment(validity.next()?)?);
        let subject = fields.take(SEQUENCE)?;
        fields.take(SEQUENCE)?; // subjectPublicKeyInfo
        UNIQUE_IDS.into_iter().for_each(|id| fields.skip_if(id));
        let mut names = match fields.next() {
            Ok((EXTENSIONS, extensions)) => alternative_names(extensions)?,
            _ => Vec::new(),
        };
        if names.is_empty() {
            names.extend(common_name(subject)?);
        }
        Ok(Self { not_before, not_after, names })
    }

    /// How long it is still valid at `now`; `None` if it is not any more.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

fn alternative_names(extensions: &[u8]) -> Result<Vec<String>, X509Error> {
    let mut extensions = Reader(Reader(extensions).take(SEQUENCE)?);
    let mut names = Vec::new();
    while !extensions.0.is_empty() {
        let mut extension = Reader(extensions.take(SEQUENCE)?);
        if extension.take(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.skip_if(BOOLEAN);
        let mut general = Reader(Reader(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
        while !general.0.is_empty() {
            let (tag, value) = general.next()?;
            if tag == DNS_NAME {
                names.push(text(value)?);
            }
        }
    }
    Ok(names)
}

/// The last one, which is the most specific.
fn common_name(subject: &[u8]) -> Result<Option<String>, X509Error> {
    let (mut subject, mut found) = (Reader(subject), None);
    while !subject.0.is_empty() {
        let mut attributes = Reader(subject.take(SET)?);
        while !attributes.0.is_empty() {
            let mut attribute = Reader(attributes.take(SEQUENCE)?);
            if attribute.take(OBJECT_IDENTIFIER)? == COMMON_NAME {
                found = text(attribute.next()?.1).ok();
            }
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Result<String, X509Error> {
    Ok(std::str::from_utf8(bytes).map_err(|_| Malformed)?.to_ascii_lowercase())
}

/// RFC 5280 §4.1.2.5: to the second, in UTC, two digits of the year before 2050.
fn moment((tag, value): (u8, &[u8])) -> Result<SystemTime, X509Error> {
    let digits = value.strip_suffix(b"Z").ok_or(Malformed)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let (year, rest) = match tag {
        UTC_TIME => digits.split_at_checked(2),
        GENERALIZED_TIME => digits.split_at_checked(4),
        _ => None,
    }
    .ok_or(Malformed)?;
    let number = |digits: &[u8]| digits.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let mut year = i32::from(number(year));
    if tag == UTC_TIME {
        year += if year < 50 { 2000 } else { 1900 };
    }
    let [month, day, hour, minute, second] = match rest.len() {
        10 => std::array::from_fn(|at| number(&rest[2 * at..2 * at + 2]) as u8),
        _ => return Err(Malformed),
    };
    let month = Month::try_from(month).map_err(|_| Malformed)?;
    let date = Date::from_calendar_date(year, month, day).map_err(|_| Malformed)?;
    let time = Time::from_hms(hour, minute, second.min(59)).map_err(|_| Malformed)?;
    Ok(PrimitiveDateTime::new(date, time).assume_utc().into())
}

/// Elements of DER, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Tag and content of the next element.
    fn next(&mut self) -> Result<(u8, &'a [u8]), X509Error> {
        let (tag, length, rest) = match self.0 {
            [tag, length @ 0..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x81, length, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x82, high, low, rest @ ..] => (*tag, usize::from(u16::from_be_bytes([*high, *low])), rest),
            [tag, 0x83, high, middle, low, rest @ ..] => {
                (*tag, u32::from_be_bytes([0, *high, *middle, *low]) as usize, rest)
            }
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok((tag, content))
    }

    fn take(&mut self, wanted: u8) -> Result<&'a [u8], X509Error> {
        let (tag, content) = self.next()?;
        if tag == wanted { Ok(content) } else { Err(Malformed) }
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            // What is not whole is an error of what comes next.
            let _ = self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn der(params: &CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_dates_are_those_of_the_certificate() {
        let mut params =
            CertificateParams::new(vec!["WWW.example.com".into(), "*.example.org".into()]).unwrap();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2051, 2, 1);
        let found = X509::read(&der(&params)).unwrap();
        assert_eq!(found.names, ["www.example.com", "*.example.org"]);
        let seconds = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!((seconds(found.not_before), seconds(found.not_after)), (946_598_400, 2_558_822_400));
    }

    #[test]
    fn common_name_stands_in_for_absent_alternative_names() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "Old.example.com");
        assert_eq!(X509::read(&der(&params)).unwrap().names, ["old.example.com"]);
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_refused_or_read_and_never_a_panic() {
        let whole = der(&CertificateParams::new(vec!["a.example".into()]).unwrap());
        for end in 0..whole.len() {
            assert!(X509::read(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= flip;
                let _ = X509::read(&broken);
            }
        }
    }

    #[test]
    fn time_that_is_remaining_ends_with_the_certificate() {
        let found = X509::read(&der(&CertificateParams::new(Vec::new()).unwrap())).unwrap();
        let before = found.not_after - Duration::from_secs(5);
        assert_eq!(found.remaining(before), Some(Duration::from_secs(5)));
        assert_eq!(found.remaining(found.not_after + Duration::from_secs(1)), None);
    }
}
