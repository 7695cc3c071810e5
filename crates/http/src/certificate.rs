//! What a certificate says: whose it is, from when to when, and who vouches for it. The name of a site stands in it as the
//! one URI `landbridge:SITE`. Whether it is to be believed is decided in [`crate::tls`].

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landbridge_core::SiteName;
use ring::digest::{SHA256, digest};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::body::one_line;

/// How the name of a site is written in a certificate.
pub const NAME_PREFIX: &str = "landbridge:";
/// How long a clock is trusted to go on as it does: it may be put right meanwhile, or the machine sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Seconds of a day.
const DAY: u64 = 86_400;
const NAMES_SHOWN_MAX: usize = 5;

/// The facts of one certificate. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Every URI in it, as it is written. A site's certificate has one.
    pub uris: Vec<String>,
    /// The host names and addresses in it, which no bridge looks at.
    pub hosts: Vec<String>,
    /// The name of its holder; of an authority, how people call it.
    pub subject: String,
    /// The name of whoever vouches for it.
    pub issuer: String,
    /// Whether it says that it is an authority's.
    pub is_authority: bool,
    /// Whether its holder vouches for itself.
    pub is_self_issued: bool,
    /// When it begins.
    pub begins: u64,
    /// When it ends.
    pub ends: u64,
    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Its public key, in DER.
    pub key: Vec<u8>,
}

/// What stands in the place of a certificate and is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it is no X.509 certificate: {0}")]
pub struct NoCertificate(String);

/// A certificate that is not one site's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoSite {
    /// No URI at all.
    #[error("it names no site: its one URI has to be {NAME_PREFIX}SITE, as `landbridge cert issue` writes it")]
    None,
    /// Some URI that is no site, or several.
    #[error("it names no site: its one URI has to be {NAME_PREFIX}SITE, and it has {0}")]
    Other(String),
}

/// Whether a certificate is good at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For so many more whole days.
    Days(u64),
    /// Not any more.
    Ended,
    /// Not yet.
    NotYet,
}

impl Certificate {
    /// Reads the DER form.
    pub fn read(der: &[u8]) -> Result<Self, NoCertificate> {
        let (rest, read) = X509Certificate::from_der(der).map_err(|e| NoCertificate(one_line(&e.to_string())))?;
        if !rest.is_empty() {
            return Err(NoCertificate("something stands behind it".to_owned()));
        }
        let names = read.subject_alternative_name().map_err(|e| NoCertificate(one_line(&e.to_string())))?;
        let (mut uris, mut hosts) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(host) => hosts.push(one_line(host)),
                GeneralName::IPAddress(bytes) => hosts.push(address(bytes)),
                _ => {}
            }
        }
        let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
        Ok(Self {
            uris,
            hosts,
            subject: called(read.subject()),
            issuer: called(read.issuer()),
            is_authority: read.is_ca(),
            is_self_issued: read.subject().as_raw() == read.issuer().as_raw(),
            begins: seconds(read.validity().not_before.timestamp()),
            ends: seconds(read.validity().not_after.timestamp()),
            fingerprint: fingerprint(der),
            key: read.public_key().raw.to_vec(),
        })
    }

    /// The site whose it is.
    pub fn site(&self) -> Result<SiteName, NoSite> {
        site_of(&self.uris)
    }

    /// SHA-256 of its public key.
    pub fn key_fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// Whether it is good at `now`.
    pub fn validity(&self, now: u64) -> Validity {
        if now < self.begins {
            Validity::NotYet
        } else if now > self.ends {
            Validity::Ended
        } else {
            Validity::Days((self.ends - now) / DAY)
        }
    }
}

/// The site that the URIs of a certificate, or of a request for one, name: exactly one.
pub fn site_of(uris: &[String]) -> Result<SiteName, NoSite> {
    match uris {
        [] => Err(NoSite::None),
        [uri] => {
            uri.strip_prefix(NAME_PREFIX).and_then(|site| site.parse().ok()).ok_or_else(|| NoSite::Other(one_line(uri)))
        }
        many => {
            let shown: Vec<_> = many.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
            Err(NoSite::Other(one_line(&shown.join(", "))))
        }
    }
}

/// Now, by this machine's clock, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns when what is good until `ends` has ended, by this machine's clock.
pub(crate) async fn ended(ends: u64) {
    // The second that a certificate names is its last.
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(ends.saturating_add(1)));
    let Some(end) = end else { return std::future::pending().await };
    while let Ok(left) = end.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_AGAIN)).await;
    }
}

/// A moment as a person reads it: the day, in UTC.
pub fn day(at: u64) -> impl fmt::Display {
    let moment = i64::try_from(at).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    moment.map_or_else(|| "a day out of every calendar".to_owned(), |moment| moment.date().to_string())
}

/// The SHA-256 of `bytes`, as pairs of hexadecimal digits with colons between them.
pub fn fingerprint(bytes: &[u8]) -> String {
    let pairs: Vec<_> = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The common name, or everything where there is none.
fn called(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    one_line(&common.map_or_else(|| name.to_string(), str::to_owned))
}

fn address(bytes: &[u8]) -> String {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => std::net::Ipv4Addr::from(v4).to_string(),
        (_, Ok(v6)) => std::net::Ipv6Addr::from(v6).to_string(),
        _ => "an address that is none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(of: &[&str]) -> Vec<String> {
        of.iter().map(|uri| (*uri).to_owned()).collect()
    }

    #[test]
    fn a_site_is_named_by_one_uri_and_exactly() {
        assert_eq!(site_of(&uris(&["landbridge:N"])).unwrap().as_str(), "N");
        for wrong in [
            &[][..],
            &["landbridge:"],
            &["Landbridge:N"],
            &["landbridge:N "],
            &["landbridge://N"],
            &["https://n.example"],
            &["landbridge:N", "landbridge:N"],
            &["landbridge:N", "https://n.example"],
        ] {
            assert!(site_of(&uris(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_day_is_written_as_everybody_reads_it() {
        assert_eq!(day(0).to_string(), "1970-01-01");
        assert_eq!(day(1_795_651_200).to_string(), "2026-11-26");
        assert_eq!(day(u64::MAX).to_string(), "a day out of every calendar");
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        assert!(Certificate::read(b"no certificate").unwrap_err().to_string().starts_with("it is no X.509"));
    }
}
