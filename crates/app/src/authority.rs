//! A small authority in a folder: its key and certificate, and the certificates that it signs for sites. Every key is made
//! private and none is overwritten without being told to; a file is there whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_core::SiteName;
use landbridge_http::Certificate;
use landbridge_http::certificate::{NAME_PREFIX, now, site_of};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use time::OffsetDateTime;

use crate::tls;

const DAY: Duration = Duration::from_hours(24);
/// A certificate is good from a little before it is made: clocks differ.
const BEFORE: Duration = Duration::from_hours(1);
/// The certificate of the authority.
pub const CA_CERT: &str = "ca.crt";
/// Its key.
pub const CA_KEY: &str = "ca.key";

/// Why nothing was made or signed.
#[derive(Debug, Error)]
pub enum AuthorityFault {
    /// It is there.
    #[error("{} is there and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be read, or is open to others.
    #[error("{0}")]
    Read(String),
    /// It holds something else.
    #[error("{} {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it is not.
        what: String,
    },
    /// The authority's own certificate is not good now.
    #[error("the authority in {} cannot sign: its certificate {what}", path.display())]
    Over {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What is asked for cannot be in a certificate.
    #[error("{0}")]
    Asked(String),
    /// The library or the system did not do it.
    #[error("no certificate could be made: {0}")]
    Made(#[from] rcgen::Error),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub certificate: Certificate,
}

/// What a certificate for a site is made of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The site.
    pub site: &'a SiteName,
    /// For how many days.
    pub days: u32,
    /// Host names and addresses, for whoever looks at them besides bridges.
    pub hosts: &'a [String],
}

/// What a request asks for.
pub struct Request {
    /// The site.
    pub site: SiteName,
    /// Hosts that it asks for, too.
    pub hosts: Vec<String>,
    /// SHA-256 of its public key.
    pub key_fingerprint: String,
    params: CertificateSigningRequestParams,
}

impl Authority {
    /// Makes the authority `name` in `folder`, with a new key, for `days`.
    pub fn make(folder: &Path, name: &str, days: u32, force: bool) -> Result<Certificate, AuthorityFault> {
        let (cert, key) = (folder.join(CA_CERT), folder.join(CA_KEY));
        for path in [&cert, &key] {
            if !force && path.exists() {
                return Err(AuthorityFault::Exists(path.clone()));
            }
        }
        let mut params = params(name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = KeyPair::generate()?;
        let made = params.self_signed(&pair)?;
        write(&key, pair.serialize_pem().as_bytes(), true)?;
        write(&cert, made.pem().as_bytes(), false)?;
        read_der(&cert, made.der())
    }

    /// The authority in `folder`.
    pub fn open(folder: &Path) -> Result<Self, AuthorityFault> {
        let (cert, key) = (folder.join(CA_CERT), folder.join(CA_KEY));
        let pem = tls::text(&cert).map_err(AuthorityFault::Read)?;
        let der = CertificateDer::from_pem_slice(&pem).map_err(|_| no_certificate(&cert))?;
        let certificate = read_der(&cert, &der)?;
        if !certificate.is_authority {
            return Err(AuthorityFault::Content { path: cert, what: "is no authority's certificate".to_owned() });
        }
        let pair = key_pair(&key)?;
        if landbridge_http::certificate::fingerprint(&pair.subject_public_key_info()) != certificate.key_fingerprint() {
            let what = format!("is not the key of {}", cert.display());
            return Err(AuthorityFault::Content { path: key, what });
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair)?;
        Ok(Self { issuer, certificate })
    }

    /// Signs a certificate over `key` and returns it in PEM. It ends no later than the authority itself.
    pub fn sign(&self, wanted: &Wanted<'_>, key: &impl PublicKeyData) -> Result<String, AuthorityFault> {
        let mut params = site_params(wanted)?;
        let over = |what: &str| AuthorityFault::Over { path: PathBuf::from(CA_CERT), what: what.to_owned() };
        let ends =
            i64::try_from(self.certificate.ends).ok().and_then(|ends| OffsetDateTime::from_unix_timestamp(ends).ok());
        match self.certificate.validity(now()) {
            landbridge_http::certificate::Validity::Days(_) => {}
            landbridge_http::certificate::Validity::Ended => return Err(over("has ended")),
            landbridge_http::certificate::Validity::NotYet => {
                return Err(over("has not begun by this machine's clock"));
            }
        }
        if let Some(ends) = ends.filter(|ends| *ends < params.not_after) {
            params.not_after = ends;
        }
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

/// A new key for a site, or the one that is there; whether it was there.
pub fn site_key(path: &Path, new: bool, force: bool) -> Result<(KeyPair, bool), AuthorityFault> {
    if path.exists() && !new {
        return Ok((key_pair(path)?, true));
    }
    if path.exists() && !force {
        return Err(AuthorityFault::Exists(path.to_owned()));
    }
    let pair = KeyPair::generate()?;
    write(path, pair.serialize_pem().as_bytes(), true)?;
    Ok((pair, false))
}

/// The public key of the certificate at `path`, and what it says.
pub fn certified_key(path: &Path) -> Result<(SubjectPublicKeyInfo, Certificate), AuthorityFault> {
    let pem = tls::text(path).map_err(AuthorityFault::Read)?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| no_certificate(path))?;
    let certificate = read_der(path, &der)?;
    Ok((SubjectPublicKeyInfo::from_der(&certificate.key)?, certificate))
}

/// A request for a certificate over `pair`, in PEM.
pub fn request(wanted: &Wanted<'_>, pair: &KeyPair) -> Result<String, AuthorityFault> {
    // The number and the link to its authority are the authority's to choose.
    let mut params = site_params(wanted)?;
    (params.serial_number, params.use_authority_key_identifier_extension) = (None, false);
    Ok(params.serialize_request(pair)?.pem()?)
}

/// Reads a request, whose signature shows that whoever made it has the key.
pub fn read_request(path: &Path) -> Result<Request, AuthorityFault> {
    let wrong = |what: String| AuthorityFault::Content { path: path.to_owned(), what };
    let pem = tls::text(path).map_err(AuthorityFault::Read)?;
    let pem = String::from_utf8(pem).map_err(|_| wrong("is no text in PEM".to_owned()))?;
    let params = CertificateSigningRequestParams::from_pem(&pem).map_err(|e| match e {
        rcgen::Error::InvalidCertificationRequestSignature => {
            wrong("was changed since it was made: its signature is not that of its key".to_owned())
        }
        e => wrong(format!("is no request for a certificate, as `landbridge cert request` writes it: {e}")),
    })?;
    let (mut uris, mut hosts) = (Vec::new(), Vec::new());
    for name in &params.params.subject_alt_names {
        match name {
            SanType::URI(uri) => uris.push(uri.as_str().to_owned()),
            SanType::DnsName(host) => hosts.push(host.as_str().to_owned()),
            SanType::IpAddress(ip) => hosts.push(ip.to_string()),
            _ => {}
        }
    }
    let site = site_of(&uris).map_err(|e| wrong(format!("asks for a certificate of nobody: {e}")))?;
    let key_fingerprint = landbridge_http::certificate::fingerprint(&params.public_key.subject_public_key_info());
    Ok(Request { site, hosts, key_fingerprint, params })
}

impl Request {
    /// The public key that a certificate is asked for.
    pub fn key(&self) -> &impl PublicKeyData {
        &self.params.public_key
    }
}

fn params(name: &str, days: u32) -> Result<CertificateParams, AuthorityFault> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(AuthorityFault::Random)?;
    // A number of at most twenty bytes, and a positive one.
    serial[0] &= 0x7f;
    serial[0] |= 0x01;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let begins = OffsetDateTime::now_utc() - BEFORE;
    params.not_before = begins;
    params.not_after = begins
        .checked_add((DAY * days).try_into().unwrap_or(time::Duration::MAX))
        .ok_or_else(|| AuthorityFault::Asked(format!("{days} days from now are out of every calendar")))?;
    Ok(params)
}

fn site_params(wanted: &Wanted<'_>) -> Result<CertificateParams, AuthorityFault> {
    let mut params = params(wanted.site.as_str(), wanted.days)?;
    let bad = |host: &str| AuthorityFault::Asked(format!("{host:?} is no host name and no address"));
    params.subject_alt_names.push(SanType::URI(format!("{NAME_PREFIX}{}", wanted.site).try_into()?));
    for host in wanted.hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) if !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-*_".contains(c)) => {
                SanType::DnsName(host.as_str().try_into().map_err(|_| bad(host))?)
            }
            Err(_) => return Err(bad(host)),
        });
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn key_pair(path: &Path) -> Result<KeyPair, AuthorityFault> {
    let pem = tls::private(path).map_err(AuthorityFault::Read)?;
    let what = || AuthorityFault::Content { path: path.to_owned(), what: "holds no private key in PEM".to_owned() };
    let pem = String::from_utf8(pem).map_err(|_| what())?;
    KeyPair::from_pem(&pem).map_err(|_| what())
}

fn no_certificate(path: &Path) -> AuthorityFault {
    AuthorityFault::Content { path: path.to_owned(), what: "holds no certificate in PEM".to_owned() }
}

fn read_der(path: &Path, der: &[u8]) -> Result<Certificate, AuthorityFault> {
    Certificate::read(der)
        .map_err(|e| AuthorityFault::Content { path: path.to_owned(), what: format!("is wrong: {e}") })
}

/// Writes a file whole or not at all; `private`: for this user alone, from its first moment.
pub fn write(path: &Path, bytes: &[u8], private: bool) -> Result<(), AuthorityFault> {
    let wrong = |source| AuthorityFault::Write { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    let _ = private;
    let mut file = options.open(&new).map_err(wrong)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&new);
        AuthorityFault::Write { path: path.to_owned(), source }
    })
}
