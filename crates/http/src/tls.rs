//! The two ends of mutual TLS 1.3: what this site shows, whom it believes as which peer, and how either is put into
//! rustls. A session is never resumed, so everybody is judged anew with every connection.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landbridge_core::SiteName;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, InvalidMessage,
    ServerConfig, SignatureScheme,
};
use thiserror::Error;

use crate::certificate::{Certificate, NoSite, now};
use crate::trust::{Authority, Distrust, End, Witness};

/// Why this site cannot prove who it is. Each names its file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsError {
    /// Nothing in it.
    #[error("{0} holds no certificate; a certificate is in a PEM file, which begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate(String),
    /// Something else in it.
    #[error("{file}: {why}")]
    Certificate {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Not a site's.
    #[error("{file}: {why}; `landbridge cert issue {site}` makes one for this site")]
    NoSite {
        /// The file.
        file: String,
        /// What is wrong.
        why: NoSite,
        /// This site.
        site: SiteName,
    },
    /// Another site's.
    #[error(
        "{file} is the certificate of site {shown}, and this is site {site}; name the file of this site in [tls] cert"
    )]
    OtherSite {
        /// The file.
        file: String,
        /// Whose it is.
        shown: SiteName,
        /// This site.
        site: SiteName,
    },
    /// No key.
    #[error("{0} holds no private key in PEM, unencrypted, as `landbridge cert issue` and `openssl genpkey` write it")]
    NoKey(String),
    /// Another certificate's key.
    #[error("the key in {key} is not that of the certificate in {cert}; name the two that were made together")]
    OtherKey {
        /// The file of the key.
        key: String,
        /// The file of the certificate.
        cert: String,
    },
    /// The authority does not vouch for this site.
    #[error("the authority in {authority} does not vouch for {file}: it {why}")]
    Authority {
        /// The file of the authority.
        authority: String,
        /// The file of the certificate.
        file: String,
        /// Why not.
        why: Distrust,
    },
}

/// What a file that is read for TLS is called, and what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Pem<'a> {
    /// Its name, for messages.
    pub file: &'a str,
    /// Its contents. They print nowhere.
    pub text: &'a [u8],
}

/// What this site shows to others, and who may vouch for each of them.
pub struct Tls {
    shown: Arc<CertifiedKey>,
    certificate: Certificate,
    file: String,
    ca: Arc<Authority>,
    peers: BTreeMap<SiteName, Arc<Authority>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("file", &self.file).field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Tls {
    /// For `site`, with its certificate, the key of that, and the authority that vouches for it. Everything that is wrong
    /// is said at once; that the certificate has ended is not: it is good to be shown to people, and peers refuse it.
    pub fn new(site: &SiteName, cert: Pem<'_>, key: Pem<'_>, ca: Arc<Authority>) -> Result<Self, Vec<TlsError>> {
        let provider = Arc::new(ring::default_provider());
        let mut faults = Vec::new();
        let key_der = PrivateKeyDer::from_pem_slice(key.text).ok();
        if key_der.is_none() {
            faults.push(TlsError::NoKey(key.file.to_owned()));
        }
        let (chain, certificate) = match chain(cert) {
            Ok(read) => read,
            Err(fault) => {
                faults.push(fault);
                return Err(faults);
            }
        };
        let file = cert.file.to_owned();
        match certificate.site() {
            Ok(shown) if shown == *site => {}
            Ok(shown) => faults.push(TlsError::OtherSite { file: file.clone(), shown, site: site.clone() }),
            Err(why) => faults.push(TlsError::NoSite { file: file.clone(), why, site: site.clone() }),
        }
        for end in [End::Dialling, End::Dialled] {
            // As long as the authority itself is good, or it would be blamed for its age only.
            let at = ca.certificates().map(|root| root.ends).max().unwrap_or(0).min(now());
            if let Some(first) = chain.first()
                && let Err(why) = ca.vouches(site, &certificate, first, &chain[1..], end, at)
            {
                let authority = ca.file().to_owned();
                faults.push(TlsError::Authority { authority, file: file.clone(), why });
                break;
            }
        }
        let shown = key_der.map(|key_der| CertifiedKey::from_der(chain, key_der, &provider));
        match shown {
            Some(Ok(shown)) if faults.is_empty() => {
                let (shown, peers) = (Arc::new(shown), BTreeMap::new());
                return Ok(Self { shown, certificate, file, ca, peers, provider });
            }
            Some(Err(rustls::Error::InconsistentKeys(_))) => {
                faults.push(TlsError::OtherKey { key: key.file.to_owned(), cert: file });
            }
            Some(Err(_)) => faults.push(TlsError::NoKey(key.file.to_owned())),
            _ => {}
        }
        Err(faults)
    }

    /// A site that is believed where `authority` vouches for it; without one, where the same as for this site does.
    pub fn believe(&mut self, peer: SiteName, authority: Option<Arc<Authority>>) {
        let authority = authority.unwrap_or_else(|| self.ca.clone());
        self.peers.insert(peer, authority);
    }

    /// The certificate of this site.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority that vouches for this site.
    pub fn ca(&self) -> &Authority {
        &self.ca
    }

    /// The authority for `peer`.
    pub fn authority(&self, peer: &SiteName) -> Option<&Authority> {
        self.peers.get(peer).map(Arc::as_ref)
    }

    /// What is said where the other side gave this alert instead of taking our certificate.
    pub(crate) fn told(&self, alert: AlertDescription) -> String {
        use crate::certificate::{Validity, day};
        let (ours, file, at) = (&self.certificate, &self.file, now());
        let site = ours.site().map_or_else(|_| String::new(), |site| site.to_string());
        let (begins, ends) = (day(ours.begins), day(ours.ends));
        match (alert, ours.validity(at)) {
            (_, Validity::Ended) => format!(
                "this site's certificate {file} ended on {ends} (today is {} by this machine's clock): `landbridge cert \
                 renew {site}`",
                day(at)
            ),
            (_, Validity::NotYet) => format!(
                "this site's certificate {file} begins on {begins} (today is {} by this machine's clock): correct the \
                 clock, or wait",
                day(at)
            ),
            (AlertDescription::CertificateExpired, _) => format!(
                "it says that this site's certificate {file} is not valid by its clock; by this machine's it is, from \
                 {begins} to {ends}: one of the two clocks is wrong, or a certificate in between has ended"
            ),
            (AlertDescription::UnknownCA, _) => format!(
                "the authority that vouches for this site's certificate {file}, {:?}, is not the one that it has for site \
                 {site}, or has ended there: give its operator {} for `ca` of [[peer]] {site}",
                ours.issuer,
                self.ca.file()
            ),
            (AlertDescription::AccessDenied, _) => {
                format!("it has no [[peer]] {site}: its operator has removed this site, or not yet added it")
            }
            (AlertDescription::ProtocolVersion, _) => "it speaks no TLS 1.3".to_owned(),
            (AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate, _) => format!(
                "it does not take this site's certificate {file}: the one URI in it has to be landbridge:{site}, for \
                 clients and servers; its log says why"
            ),
            (other, _) => format!("it broke the handshake off ({other:?}); its log says why"),
        }
    }

    /// For the listener, for one connection: whoever is turned away is in `verdict` then.
    pub(crate) fn server(self: &Arc<Self>, verdict: Verdict) -> Result<ServerConfig, rustls::Error> {
        let doorkeeper = Arc::new(Doorkeeper { tls: self.clone(), verdict });
        let builder = ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(&[&TLS13])?;
        let shown = Arc::new(SingleCertAndKey::from(self.shown.as_ref().clone()));
        let mut config = builder.with_client_cert_verifier(doorkeeper).with_cert_resolver(shown);
        // A resumed session would be believed without being judged, also after its peer was removed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = protocols();
        Ok(config)
    }

    /// For dialling `peer`. `first_end` is told until when what was shown is good.
    pub(crate) fn client(
        self: &Arc<Self>,
        peer: &SiteName,
        witness: Option<Arc<dyn Witness>>,
        verdict: Verdict,
        first_end: FirstEnd,
    ) -> Result<ClientConfig, rustls::Error> {
        let caller = Arc::new(Caller { tls: self.clone(), peer: peer.clone(), witness, verdict, first_end });
        let builder = ClientConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(&[&TLS13])?;
        let shown = Arc::new(SingleCertAndKey::from(self.shown.as_ref().clone()));
        let mut config = builder.dangerous().with_custom_certificate_verifier(caller).with_client_cert_resolver(shown);
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols();
        Ok(config)
    }

    /// Until when a certificate of `site` that is believed stays so: it ends, or the last of those who may vouch for it does.
    pub(crate) fn good_until(&self, site: &SiteName, certificate: &Certificate) -> u64 {
        let authorities =
            self.authority(site).and_then(|authority| authority.certificates().map(|root| root.ends).max());
        authorities.map_or(certificate.ends, |ends| certificate.ends.min(ends))
    }

    /// Whose the certificate is that is shown, if it is believed. `expected`: who was dialled.
    fn judge(
        &self,
        expected: Option<&SiteName>,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        end: End,
        now: u64,
    ) -> Judged {
        let certificate = Certificate::read(shown).map_err(|e| Distrust::Unreadable(e.to_string()))?;
        let site = certificate.site()?;
        if let Some(expected) = expected
            && *expected != site
        {
            return Err(Distrust::OtherSite { shown: site, expected: expected.clone() });
        }
        let Some(authority) = self.peers.get(&site) else { return Err(Distrust::Stranger { shown: site }) };
        authority.judge(&site, &certificate, shown, between, end, now)?;
        Ok((site, certificate))
    }

    fn signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
}

/// The certificates in a file, the first of which is the site's.
fn chain(cert: Pem<'_>) -> Result<(Vec<CertificateDer<'static>>, Certificate), TlsError> {
    let wrong = |why: String| TlsError::Certificate { file: cert.file.to_owned(), why };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.text).collect();
    let chain = chain.map_err(|e| wrong(format!("it is no PEM: {e}")))?;
    let Some(first) = chain.first() else { return Err(TlsError::NoCertificate(cert.file.to_owned())) };
    let certificate = Certificate::read(first).map_err(|e| wrong(e.to_string()))?;
    Ok((chain, certificate))
}

fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// Whose certificate was shown, if it is believed.
type Judged = Result<(SiteName, Certificate), Distrust>;

/// What came of one handshake: rustls keeps no more of it than an alert.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<Judged>>>);

impl Verdict {
    fn set(&self, verdict: Judged) {
        *self.lock() = Some(verdict);
    }

    /// Takes it.
    pub(crate) fn take(&self) -> Option<Judged> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Judged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the first of the certificates ends that were believed over some connections.
#[derive(Debug, Clone)]
pub(crate) struct FirstEnd(Arc<AtomicU64>);

impl Default for FirstEnd {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl FirstEnd {
    fn note(&self, ends: u64) {
        self.0.fetch_min(ends, Ordering::Relaxed);
    }

    /// The connections are none any more.
    pub(crate) fn begin_anew(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        now > self.0.load(Ordering::Relaxed)
    }
}

/// Why a handshake failed that no verdict was given in.
pub(crate) fn failed(error: &rustls::Error) -> Distrust {
    match error {
        rustls::Error::NoCertificatesPresented => Distrust::NoCertificate,
        rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Distrust::Version
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Distrust::Plain,
        rustls::Error::AlertReceived(alert) => Distrust::Broke(format!("it does not believe this site ({alert:?})")),
        other => Distrust::Broke(crate::body::one_line(&other.to_string())),
    }
}

/// Judges who dials.
#[derive(Debug)]
struct Doorkeeper {
    tls: Arc<Tls>,
    verdict: Verdict,
}

impl ClientCertVerifier for Doorkeeper {
    /// Nobody is told which authorities are believed here.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self.tls.judge(None, shown, between, End::Dialling, now.as_secs());
        let answer = verdict.as_ref().map(|_| ClientCertVerified::assertion()).map_err(|why| why.alert().into());
        self.verdict.set(verdict);
        answer
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::BadEncoding.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.tls.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Judges who was dialled.
struct Caller {
    tls: Arc<Tls>,
    peer: SiteName,
    witness: Option<Arc<dyn Witness>>,
    verdict: Verdict,
    first_end: FirstEnd,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.peer).finish()
    }
}

impl ServerCertVerifier for Caller {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.tls.judge(Some(&self.peer), shown, between, End::Dialled, now.as_secs());
        let answer = verdict.as_ref().map(|_| ServerCertVerified::assertion()).map_err(|why| why.alert().into());
        self.verdict.set(verdict);
        answer
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::BadEncoding.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let proven = self.tls.signature(message, cert, dss)?;
        // Only now it is known that the certificate is not somebody else's, shown again.
        if let Some(Ok((site, certificate))) = &*self.verdict.lock() {
            self.first_end.note(self.tls.good_until(site, certificate));
            if let Some(witness) = &self.witness {
                witness.believed(site, certificate);
            }
        }
        Ok(proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.tls.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The longest time that a handshake may take on either side.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
