//! Whether a certificate is to be believed: it names the site that is expected, the authority for that very site vouches
//! for it, and it is good now. The same in both directions. Host names are not looked at, since the name of the site is
//! the identity, and there are no lists of revoked certificates: a peer is removed by taking its `[[peer]]` section out.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use landbridge_core::SiteName;
use rustls::CertificateError;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::{Certificate, NoSite, Validity, day};

/// The largest chain that is looked at; more is no site's certificate.
const CHAIN_MAX: usize = 8;

/// What the sites of a bridge learn in TLS handshakes, and whom they turn away: for whoever shows, logs and counts it.
pub trait Witness: Send + Sync {
    /// `peer` has shown this certificate, and it is believed.
    fn believed(&self, peer: &SiteName, certificate: &Certificate);
    /// Somebody who dialled this site from `from` was turned away before saying anything.
    fn turned_away(&self, from: SocketAddr, why: &Distrust);
}

/// Why somebody is not believed to be a site. The sentence goes on after "it" or an address; what it quotes of a
/// certificate was chosen by whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No TLS at all.
    #[error("speaks no TLS, and this port takes nothing else: a url for it begins with https://")]
    Plain,
    /// TLS before 1.3, or with nothing in common.
    #[error("speaks no TLS 1.3 that this bridge speaks, and nothing older is taken")]
    Version,
    /// No certificate.
    #[error("shows no certificate; a site needs [tls] in its configuration")]
    NoCertificate,
    /// Nothing that can be read.
    #[error("shows what is no certificate: {0}")]
    Unreadable(String),
    /// No site in it.
    #[error("shows a certificate of nobody: {0}")]
    NoSite(#[from] NoSite),
    /// Another site's.
    #[error(
        "shows the certificate of site {shown}, and site {expected} is expected there; correct the name or the url of \
         its [[peer]]"
    )]
    OtherSite {
        /// Whose it is.
        shown: SiteName,
        /// Whose it should be.
        expected: SiteName,
    },
    /// A site that is no peer.
    #[error("shows a certificate of site {shown}, which is no peer of this site; a [[peer]] section would make it one")]
    Stranger {
        /// Whose it says it is.
        shown: SiteName,
    },
    /// Nobody vouches for it.
    #[error(
        "shows a certificate of site {shown} that it signed itself; let the authority for {shown} sign one \
         (`landbridge cert request {shown}`, `landbridge cert sign`)"
    )]
    SelfSigned {
        /// Whose it says it is.
        shown: SiteName,
    },
    /// An authority that may not.
    #[error(
        "shows a certificate of site {shown} from the authority {issuer:?}, which may not vouch for {shown} here: \
         {expected} may; if it should, name its file in `ca` of [[peer]] {shown}"
    )]
    Authority {
        /// Whose it says it is.
        shown: SiteName,
        /// Who is said to vouch for it.
        issuer: String,
        /// Who may: the authorities and their file.
        expected: String,
    },
    /// The authority itself is over, or has not begun.
    #[error(
        "shows a certificate of site {shown}, for which nobody can vouch now: {authority} is not valid by this machine's \
         clock ({}); make a new authority, or correct the clock", day(*.now)
    )]
    AuthorityOver {
        /// Whose it says it is.
        shown: SiteName,
        /// The authority, its file and its days.
        authority: String,
        /// The time here.
        now: u64,
    },
    /// It has ended.
    #[error(
        "shows a certificate of site {shown} that ended on {} (today is {} by this machine's clock); at site {shown}: \
         `landbridge cert renew {shown}`", day(*.ended), day(*.now)
    )]
    Expired {
        /// Whose it is.
        shown: SiteName,
        /// When it ended.
        ended: u64,
        /// The time here.
        now: u64,
    },
    /// It has not begun.
    #[error(
        "shows a certificate of site {shown} that begins on {} (today is {} by this machine's clock); wait, or correct \
         the clock of whichever machine is wrong", day(*.begins), day(*.now)
    )]
    NotYet {
        /// Whose it is.
        shown: SiteName,
        /// When it begins.
        begins: u64,
        /// The time here.
        now: u64,
    },
    /// A certificate between it and the authority is not good now.
    #[error(
        "shows a certificate of site {shown}; one between it and its authority is not valid by this machine's clock"
    )]
    Between {
        /// Whose it is.
        shown: SiteName,
    },
    /// Made for something else, or wrong in another way.
    #[error("shows a certificate of site {shown} that cannot be used for this: {why}")]
    Unfit {
        /// Whose it says it is.
        shown: SiteName,
        /// Why.
        why: String,
    },
    /// The handshake took too long.
    #[error("did not say within {0:?} who it is")]
    Slow(Duration),
    /// Others need the place.
    #[error("had not said who it is when too many others came")]
    Crowded,
    /// It does not believe us, or broke off.
    #[error("broke the handshake off: {0}")]
    Broke(String),
}

impl Distrust {
    /// The site that it says it is.
    pub fn shown(&self) -> Option<&SiteName> {
        match self {
            Distrust::OtherSite { shown, .. }
            | Distrust::Stranger { shown }
            | Distrust::SelfSigned { shown }
            | Distrust::Authority { shown, .. }
            | Distrust::AuthorityOver { shown, .. }
            | Distrust::Expired { shown, .. }
            | Distrust::NotYet { shown, .. }
            | Distrust::Between { shown }
            | Distrust::Unfit { shown, .. } => Some(shown),
            _ => None,
        }
    }

    /// The site, where its authority does vouch for the certificate and only the time is wrong.
    pub fn proven(&self) -> Option<&SiteName> {
        match self {
            Distrust::Expired { shown, .. } | Distrust::NotYet { shown, .. } => Some(shown),
            _ => None,
        }
    }

    /// What TLS tells the other side: no more than a word, from which it can guess what it has to do.
    pub(crate) fn alert(&self) -> CertificateError {
        match self {
            Distrust::Expired { .. } | Distrust::NotYet { .. } | Distrust::Between { .. } => CertificateError::Expired,
            Distrust::SelfSigned { .. } | Distrust::Authority { .. } | Distrust::AuthorityOver { .. } => {
                CertificateError::UnknownIssuer
            }
            Distrust::Stranger { .. } => CertificateError::ApplicationVerificationFailure,
            Distrust::Unfit { .. } => CertificateError::InvalidPurpose,
            _ => CertificateError::NotValidForName,
        }
    }
}

/// Why a file is no authority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthorityError {
    /// Nothing in it.
    #[error("{0} holds no certificate; an authority is in a PEM file, which begins with -----BEGIN CERTIFICATE-----")]
    Empty(String),
    /// Something else in it.
    #[error("{file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A site's certificate instead.
    #[error(
        "{file} holds the certificate {subject:?}, which is no authority's; give the authority's, often named ca.crt"
    )]
    NoAuthority {
        /// The file.
        file: String,
        /// Its name.
        subject: String,
    },
}

/// Who may vouch for a site: the certificates of one file, old and new ones side by side while they are exchanged.
#[derive(Clone)]
pub struct Authority {
    file: String,
    roots: Vec<(TrustAnchor<'static>, Certificate)>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.file).finish()
    }
}

/// For which end of a connection a certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By who was dialled.
    Dialled,
    /// By who dials.
    Dialling,
}

impl Authority {
    /// The authority whose certificates are in `pem`, which was read from `file`.
    pub fn from_pem(file: &str, pem: &[u8]) -> Result<Self, AuthorityError> {
        let unreadable = |why: String| AuthorityError::Unreadable { file: file.to_owned(), why };
        let mut roots = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|e| unreadable(format!("it is no PEM: {e}")))?;
            let certificate = Certificate::read(&der).map_err(|e| unreadable(e.to_string()))?;
            if !certificate.is_authority {
                let subject = certificate.subject;
                return Err(AuthorityError::NoAuthority { file: file.to_owned(), subject });
            }
            let anchor = anchor_from_trusted_cert(&der).map_err(|e| unreadable(e.to_string()))?;
            roots.push((anchor.to_owned(), certificate));
        }
        if roots.is_empty() {
            return Err(AuthorityError::Empty(file.to_owned()));
        }
        Ok(Self { file: file.to_owned(), roots })
    }

    /// The file that it was read from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.roots.iter().map(|(_, certificate)| certificate)
    }

    /// Whether it vouches for all that `former` vouched for, as far as that is still good: whatever files the two are in,
    /// each certificate of the former is one of this one's.
    pub fn includes(&self, former: &Authority) -> bool {
        former.certificates().all(|root| self.certificates().any(|own| own.fingerprint == root.fingerprint))
    }

    /// How people call it, with its file.
    fn called(&self) -> String {
        let names: Vec<_> = self.certificates().map(|root| format!("{:?}", root.subject)).collect();
        format!("{} ({})", names.join(" or "), self.file)
    }

    /// Whether this authority vouches for what is shown, as a certificate of `site`, now.
    pub(crate) fn judge(
        &self,
        site: &SiteName,
        certificate: &Certificate,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        end: End,
        now: u64,
    ) -> Result<(), Distrust> {
        self.vouches(site, certificate, shown, between, end, now)?;
        match certificate.validity(now) {
            Validity::Days(_) => Ok(()),
            Validity::Ended => Err(Distrust::Expired { shown: site.clone(), ended: certificate.ends, now }),
            Validity::NotYet => Err(Distrust::NotYet { shown: site.clone(), begins: certificate.begins, now }),
        }
    }

    /// The same, whether or not the certificate itself is over or has not begun: so that of somebody who only says that he
    /// is a peer it is never said that the peer's certificate has ended.
    pub(crate) fn vouches(
        &self,
        site: &SiteName,
        certificate: &Certificate,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        end: End,
        now: u64,
    ) -> Result<(), Distrust> {
        let unfit = |why: String| Distrust::Unfit { shown: site.clone(), why };
        if certificate.begins > certificate.ends {
            return Err(unfit("it ends before it begins".to_owned()));
        }
        if between.len() > CHAIN_MAX {
            return Err(unfit(format!("{} certificates come with it", between.len())));
        }
        let good = |root: &Certificate| matches!(root.validity(now), Validity::Days(_));
        let anchors: Vec<_> =
            self.roots.iter().filter(|(_, root)| good(root)).map(|(anchor, _)| anchor.clone()).collect();
        if anchors.is_empty() {
            let days =
                |root: &Certificate| format!("{:?}, from {} to {}", root.subject, day(root.begins), day(root.ends));
            let authority = format!("{} ({})", self.certificates().map(days).collect::<Vec<_>>().join("; "), self.file);
            return Err(Distrust::AuthorityOver { shown: site.clone(), authority, now });
        }
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.clamp(certificate.begins, certificate.ends)));
        let usage = match end {
            End::Dialled => KeyUsage::server_auth(),
            End::Dialling => KeyUsage::client_auth(),
        };
        let algorithms = default_provider().signature_verification_algorithms.all;
        let parsed = EndEntityCert::try_from(shown).map_err(|e| unfit(e.to_string()))?;
        match parsed.verify_for_usage(algorithms, &anchors, between, at, usage, None, None) {
            Ok(_) => Ok(()),
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
                Err(Distrust::Between { shown: site.clone() })
            }
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey)
                if certificate.is_self_issued =>
            {
                Err(Distrust::SelfSigned { shown: site.clone() })
            }
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
                Err(Distrust::Authority {
                    shown: site.clone(),
                    issuer: certificate.issuer.clone(),
                    expected: self.called(),
                })
            }
            Err(webpki::Error::CaUsedAsEndEntity) if certificate.is_self_issued => {
                Err(Distrust::SelfSigned { shown: site.clone() })
            }
            Err(e) => Err(unfit(e.to_string())),
        }
    }
}
