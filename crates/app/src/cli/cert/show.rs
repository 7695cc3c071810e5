//! `landbridge cert show`: what certificates and requests say, as a person reads it.

use std::path::{Path, PathBuf};

use clap::Args;
use landbridge_http::certificate::{Certificate, Validity, day, now};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use crate::authority::read_request;
use crate::config::WARN_DEFAULT;
use crate::exit::{Exit, Failure};
use crate::render::{Cell, Screen, Table, Tone, json, say};
use crate::tls;

/// What is shown.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Files in PEM: certificates, authorities, requests
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// One certificate, or one request for it.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    kind: &'static str,
    name: String,
    authority: Option<String>,
    begins: Option<String>,
    ends: Option<String>,
    days_left: Option<i64>,
    hosts: Vec<String>,
    fingerprint: Option<String>,
    key_fingerprint: String,
    /// What is to be said of it; nothing where it is good.
    wrong: Option<String>,
}

/// Prints all, or says which file holds none.
pub(super) fn run(args: &ShowArgs, screen: Screen) -> Result<Exit, Failure> {
    let mut all = Vec::new();
    for file in &args.files {
        all.extend(read(file)?);
    }
    if args.json {
        say(&json(&all)?)?;
    } else {
        let parts: Vec<_> = all.iter().map(|shown| screen.table(&table(shown))).collect();
        say(&parts.join("\n\n"))?;
    }
    Ok(if all.iter().any(|shown| shown.wrong.is_some()) { Exit::Person } else { Exit::Done })
}

fn read(file: &Path) -> Result<Vec<Shown>, Failure> {
    let wrong = |what: String| {
        let next = "name a file that begins with -----BEGIN CERTIFICATE----- or -----BEGIN CERTIFICATE REQUEST-----";
        Failure::new(Exit::Configuration, what, next)
    };
    let pem = tls::text(file).map_err(wrong)?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("CERTIFICATE REQUEST-----") {
        let asked = read_request(file)?;
        return Ok(vec![Shown {
            file: file.display().to_string(),
            kind: "request",
            name: format!("site {}", asked.site),
            authority: None,
            begins: None,
            ends: None,
            days_left: None,
            hosts: asked.hosts,
            fingerprint: None,
            key_fingerprint: asked.key_fingerprint,
            wrong: None,
        }]);
    }
    let mut all = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|e| wrong(format!("{} is no PEM: {e}", file.display())))?;
        let certificate = Certificate::read(&der).map_err(|e| wrong(format!("{}: {e}", file.display())))?;
        all.push(shown(file, certificate));
    }
    if all.is_empty() {
        let what =
            if text.contains("PRIVATE KEY-----") { "holds a private key, which is not shown" } else { "holds none" };
        return Err(wrong(format!("{}: no certificate and no request; it {what}", file.display())));
    }
    Ok(all)
}

fn shown(file: &Path, certificate: Certificate) -> Shown {
    let (at, mut wrong) = (now(), None);
    let (kind, name) = match certificate.site() {
        _ if certificate.is_authority => ("authority", certificate.subject.clone()),
        Ok(site) => ("certificate", format!("site {site}")),
        Err(nobody) => {
            wrong = Some(nobody.to_string());
            ("certificate", certificate.subject.clone())
        }
    };
    let seconds_left = i128::from(certificate.ends) - i128::from(at);
    let told = match certificate.validity(at) {
        Validity::Ended => Some("it has ended, by this machine's clock".to_owned()),
        Validity::NotYet => Some("it has not begun, by this machine's clock".to_owned()),
        Validity::Days(_) if seconds_left <= i128::from(WARN_DEFAULT.as_secs()) => Some("it ends soon".to_owned()),
        Validity::Days(_) => None,
    };
    let key_fingerprint = certificate.key_fingerprint();
    Shown {
        file: file.display().to_string(),
        kind,
        name,
        authority: Some(if certificate.is_self_issued { "itself".to_owned() } else { certificate.issuer }),
        begins: Some(day(certificate.begins).to_string()),
        ends: Some(day(certificate.ends).to_string()),
        days_left: i64::try_from(seconds_left / 86_400).ok(),
        hosts: certificate.hosts,
        fingerprint: Some(certificate.fingerprint),
        key_fingerprint,
        wrong: wrong.or(told),
    }
}

fn table(shown: &Shown) -> Table {
    let mut table = Table::new([shown.kind, &shown.file]);
    let mut row = |what: &str, cell: Cell| table.row([Cell::from(what.to_owned()), cell]);
    row("name", Cell::new(shown.name.as_str(), Tone::Strong));
    if let Some(authority) = &shown.authority {
        row("vouched for by", authority.clone().into());
    }
    if let (Some(begins), Some(ends), Some(days)) = (&shown.begins, &shown.ends, shown.days_left) {
        row("good", format!("from {begins} to {ends}").into());
        row("days left", days.to_string().into());
    }
    if !shown.hosts.is_empty() {
        row("hosts", shown.hosts.join(", ").into());
    }
    if let Some(fingerprint) = &shown.fingerprint {
        row("SHA-256", fingerprint.clone().into());
    }
    row("SHA-256 of the key", shown.key_fingerprint.clone().into());
    if let Some(wrong) = &shown.wrong {
        row("look", Cell::new(wrong.as_str(), Tone::Bad));
    }
    table
}
