//! Authorities and certificates, made by the product's own `landbridge cert`; and, since that makes no bad ones, bad ones
//! with an authority's key. And somebody who dials with any of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use time::OffsetDateTime;

use super::command::{self, DONE};
use super::desk::{Desk, private};
use super::wait::PATIENCE;

/// `[tls]` of a site whose files have the names that [`Authority::certify`] gives them.
pub fn tls_section(site: &str) -> String {
    format!("[tls]\ncert = \"{site}.crt\"\nkey = \"{site}.key\"\nca = \"ca.crt\"\nwatch = \"200ms\"\n")
}

/// A company's authority.
pub struct Authority {
    /// Its folder.
    pub dir: PathBuf,
}

impl Authority {
    /// A new authority `name` in a folder of that name below `folder`.
    pub fn make(folder: &Path, name: &str) -> Self {
        let dir = folder.join(name);
        command::run(["cert", "authority", "--dir", text(&dir), "--name", name]).ends(DONE);
        Self { dir }
    }

    /// The file that others need of it.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Gives the site of `desk` its certificate and key, and this authority's file as its `ca.crt`.
    pub fn certify(&self, desk: &Desk) {
        self.issue(&desk.folder, desk.site);
        std::fs::copy(self.ca(), desk.folder.join("ca.crt")).unwrap();
    }

    /// Puts a certificate and a key for `site` into `out`, over what is there.
    pub fn issue(&self, out: &Path, site: &str) {
        command::run(["cert", "issue", site, "--dir", text(&self.dir), "--out", text(out), "--force"]).ends(DONE);
    }

    /// Runs `landbridge cert renew` for `site`, whose files are in `out`.
    pub fn renew(&self, out: &Path, site: &str, flags: &[&str]) {
        let renew = ["cert", "renew", site, "--dir", text(&self.dir), "--out", text(out)];
        command::run(renew.iter().chain(flags)).ends(DONE);
    }

    /// Puts a certificate into `out` that is good from `from` to `to` days from now: nothing the product would make.
    pub fn issue_dated(&self, out: &Path, site: &str, from: i64, to: i64) {
        self.issue_between(out, site, time::Duration::days(from), time::Duration::days(to));
    }

    /// Puts a certificate into `out` that ends within this time.
    pub fn issue_ending_in(&self, out: &Path, site: &str, left: Duration) {
        let left = time::Duration::seconds(i64::try_from(left.as_secs()).unwrap());
        self.issue_between(out, site, time::Duration::days(-1), left);
    }

    fn issue_between(&self, out: &Path, site: &str, from: time::Duration, to: time::Duration) {
        let read = |name: &str| std::fs::read_to_string(self.dir.join(name)).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
        let pair = KeyPair::generate().unwrap();
        let made = params(site, from, to).signed_by(&pair, &issuer).unwrap();
        put(out, site, &made.pem(), &pair);
    }
}

/// Puts a certificate for `site` into `out` that nobody vouches for.
pub fn issue_self_signed(out: &Path, site: &str) {
    let pair = KeyPair::generate().unwrap();
    let made = params(site, time::Duration::days(-1), time::Duration::days(30)).self_signed(&pair).unwrap();
    put(out, site, &made.pem(), &pair);
}

fn params(site: &str, from: time::Duration, to: time::Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(format!("landbridge:{site}").try_into().unwrap())];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + from, now + to);
    params
}

fn put(out: &Path, site: &str, cert: &str, pair: &KeyPair) {
    std::fs::create_dir_all(out).unwrap();
    std::fs::write(out.join(format!("{site}.crt")), cert).unwrap();
    private(&out.join(format!("{site}.key")), &pair.serialize_pem());
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Dials a bridge over TLS and takes whatever it shows; with the certificate of `site` in `folder`, or with none.
pub fn dial(
    address: SocketAddr,
    shown: Option<(&Path, &str)>,
    versions: &[&'static SupportedProtocolVersion],
) -> StreamOwned<ClientConnection, TcpStream> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((folder, site)) => {
            let cert = CertificateDer::from_pem_file(folder.join(format!("{site}.crt"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{site}.key"))).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    let host = ServerName::try_from("no-host-is-looked-at.example").unwrap();
    let connection = ClientConnection::new(Arc::new(config), host).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// Posts `body` over a connection and returns what comes back, or why nothing does.
pub fn post(stream: &mut (impl Read + Write), path: &str, body: &str) -> Result<String, String> {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let sent = stream.write_all(format!("{head}{body}").as_bytes()).and_then(|()| stream.flush());
    let mut answer = Vec::new();
    let read = sent.and_then(|()| stream.read_to_end(&mut answer));
    match read {
        _ if !answer.is_empty() => Ok(String::from_utf8(answer).unwrap()),
        Ok(_) => Err("closed".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Returns when the other side has ended the connection.
pub fn wait_for_end(stream: &mut StreamOwned<ClientConnection, TcpStream>) {
    stream.sock.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    if let Err(e) = stream.read_to_end(&mut rest) {
        assert!(!matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "it is still open");
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
