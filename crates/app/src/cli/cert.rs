//! `landbridge cert`: a small authority and the certificates of sites. Files and signatures are `authority`'s; here is what
//! an operator says and is told.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use landbridge_core::SiteName;
use landbridge_http::certificate::{Certificate, Validity, day, fingerprint, now};
use rcgen::PublicKeyData as _;

use super::Context;
use crate::authority::{
    Authority, AuthorityFault, CA_CERT, CA_KEY, Wanted, certified_key, read_request, request, site_key, write,
};
use crate::exit::{Exit, Failure};
use crate::render::{Screen, count, say};

mod show;

/// How long an authority is good, where nothing else is said.
const AUTHORITY_DAYS: u32 = 3650;
/// How long a site's certificate is good: a little more than a year, as everywhere.
const SITE_DAYS: u32 = 398;
/// No certificate is made for longer.
const DAYS_MAX: i64 = 36_500;

/// Make and look at the certificates by which sites know each other over the Internet
///
/// Over https every site shows a certificate with its name, `landbridge:SITE`, and is believed where the authority
/// that the other site has for it (`ca` of [tls], or of the [[peer]]) vouches for it. The host name in a url is not
/// looked at. An authority is a folder with two files; companies that do not trust each other have one each.
///
///   at company A:  landbridge cert authority --dir A --name "Company A"
///                  landbridge cert issue 1 --dir A
///   at company B:  landbridge cert authority --dir B --name "Company B"
///                  landbridge cert issue N --dir B
///
/// Then A's configuration has [tls] with cert = "1.crt", key = "1.key", ca = "ca.crt" (A's own), and under
/// [[peer]] N the line ca = "b-ca.crt", the file B/ca.crt of company B; company B does the same the other way
/// round. Only ca.crt is ever given to somebody else. ca.key stays where certificates are made, best on no
/// machine that a bridge runs on; a site's key stays at the site: `cert request` and `cert sign` see to that.
///
/// There are no lists of revoked certificates. A peer is removed by taking its [[peer]] section out and saying
/// `landbridge reload`; a stolen key is answered by a new authority and new certificates.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Exit status:
  0  done                    2  wrong command line, or a file is there and is not overwritten
  3  a file cannot be read or written, or is not what it should be
  6  `cert show`: a certificate has ended, has not begun, or ends within 30 days

Example:
  landbridge cert authority --dir authority --name \"Company A\"
  landbridge cert issue 1 --dir authority"
)]
pub struct CertArgs {
    #[command(subcommand)]
    verb: CertVerb,
}

#[derive(Debug, Subcommand)]
enum CertVerb {
    /// Make an authority: a key that signs certificates, and the certificate that others need of it
    ///
    /// Writes ca.key (mode 0600) and ca.crt. Keep ca.key in a safe place: whoever has it can be any site that this
    /// authority may vouch for. Give ca.crt to the operators of other sites, over a way that you trust.
    #[command(after_long_help = "\
Exit status: 0 done, 2 there is one already, 3 the folder cannot be written

Example:
  landbridge cert authority --dir authority --name \"Company A\"")]
    Authority {
        /// The folder of the authority; made if it is missing
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What people call it, for instance the company
        #[arg(long, value_name = "COMPANY")]
        name: String,
        /// For how many days it is good
        #[arg(long, value_name = "N", default_value_t = AUTHORITY_DAYS)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: u32,
        /// Replace an authority that is there: what it signed is then worth nothing
        #[arg(long)]
        force: bool,
    },
    /// Make a key and a certificate for a site
    ///
    /// Writes SITE.key (mode 0600) and SITE.crt. Where the site is another machine, better let it make its key itself:
    /// `landbridge cert request` there, `landbridge cert sign` here.
    #[command(after_long_help = "\
Exit status: 0 done, 2 a file is there already, 3 the authority or a folder cannot be used

Example:
  landbridge cert issue 1 --dir authority --host bridge.a.example")]
    Issue {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        #[command(flatten)]
        signing: Signing,
        /// Replace a key and a certificate that are there
        #[arg(long)]
        force: bool,
    },
    /// At a site: make a key, and a request that an authority signs
    ///
    /// Writes SITE.key (mode 0600), unless it is there and is used again, and SITE.csr. The key stays; send SITE.csr to
    /// whoever has the authority, and compare the fingerprint that both commands print over the telephone.
    #[command(after_long_help = "\
Exit status: 0 done, 2 a file is there already, 3 the folder cannot be written, or the key cannot be read

Example:
  landbridge cert request N")]
    Request {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        /// The folder for the files
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// A host name or address to ask for, too; may be given several times
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Make a new key in the place of the one that is there
        #[arg(long)]
        new_key: bool,
    },
    /// At the authority: sign a site's request
    ///
    /// Only the name that you give is signed: a request for another site is refused. Of hosts that it asks for, those
    /// that you give with --host are taken.
    #[command(after_long_help = "\
Exit status: 0 done, 2 the certificate is there already, 3 the request is for another site or is damaged, or the
authority cannot be used

Example:
  landbridge cert sign N.csr --site N --dir authority")]
    Sign {
        /// The request
        #[arg(value_name = "FILE")]
        request: PathBuf,
        /// The site that it has to be for
        #[arg(long, value_name = "SITE")]
        site: SiteName,
        #[command(flatten)]
        signing: Signing,
        /// Replace a certificate that is there
        #[arg(long)]
        force: bool,
    },
    /// Make a new certificate for a site, over the same key or a new one
    ///
    /// Replaces SITE.crt, which has to be there: its key and hosts are taken over. A running bridge whose [tls] names this
    /// very file notices within a minute. A site that keeps its key to itself can also make a new request.
    #[command(after_long_help = "\
Exit status: 0 done, 3 there is no certificate to renew, or the authority cannot be used

Example:
  landbridge cert renew 1 --dir authority --out /etc/landbridge")]
    Renew {
        /// The site
        #[arg(value_name = "SITE")]
        site: SiteName,
        #[command(flatten)]
        signing: Signing,
        /// Make a new key, too, in the place of SITE.key
        #[arg(long)]
        new_key: bool,
    },
    /// Print what certificates and requests say: name, authority, validity, fingerprints
    #[command(after_long_help = "\
Exit status: 0 all are good, 3 a file holds none, 6 one has ended, has not begun, or ends within 30 days

Example:
  landbridge cert show 1.crt ca.crt")]
    Show(show::ShowArgs),
}

/// What every signature needs.
#[derive(Debug, Args)]
struct Signing {
    /// The folder of the authority, with ca.crt and ca.key
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The folder of the site's files; without it, that of the authority
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// For how many days the certificate is good; never longer than the authority
    #[arg(long, value_name = "N", default_value_t = SITE_DAYS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// A host name or address to put into it, too: no bridge looks at it; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

impl Signing {
    fn file(&self, site: &SiteName, end: &str) -> PathBuf {
        self.out.as_ref().unwrap_or(&self.dir).join(format!("{site}.{end}"))
    }
}

/// Does what was asked. Needs no configuration.
pub async fn run(args: &CertArgs, context: &Context) -> Result<Exit, Failure> {
    let screen = context.screen;
    match &args.verb {
        CertVerb::Authority { dir, name, days, force } => authority(dir, name, *days, *force, screen),
        CertVerb::Issue { site, signing, force } => issue(site, signing, *force, screen),
        CertVerb::Request { site, out, hosts, new_key } => ask(site, out, hosts, *new_key, screen),
        CertVerb::Sign { request, site, signing, force } => sign(request, site, signing, *force, screen),
        CertVerb::Renew { site, signing, new_key } => renew(site, signing, *new_key, screen),
        CertVerb::Show(args) => show::run(args, screen),
    }
}

fn authority(dir: &Path, name: &str, days: u32, force: bool, screen: Screen) -> Result<Exit, Failure> {
    if name.trim().is_empty() || name.chars().any(char::is_control) || name.len() > 64 {
        let next = "give --name of 1 to 64 bytes, for instance the company";
        return Err(Failure::usage("an authority needs a name", next));
    }
    let made_folder = !dir.exists();
    std::fs::create_dir_all(dir)
        .map_err(|source| AuthorityFault::Write { path: dir.to_owned(), source })
        .map_err(Failure::from)?;
    if made_folder {
        #[cfg(unix)]
        let _ = std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    }
    let made = Authority::make(dir, name, days, force)?;
    say(&format!("Authority {name:?}: made, good until {}", until(&made)))?;
    say(&format!("Its key {}: for this user alone. Whoever has it can be any site here.", dir.join(CA_KEY).display()))?;
    let cert = dir.join(CA_CERT);
    let next = format!(
        "\nNext: `landbridge cert issue SITE --dir {}` for each site. Give {} to the operators of other sites, for `ca` of \
         their [tls] or [[peer]]; its fingerprint, to be compared over the telephone:",
        dir.display(),
        cert.display()
    );
    say(&format!("{}\n  {}", screen.prose(&next), made.fingerprint))?;
    Ok(Exit::Done)
}

fn issue(site: &SiteName, signing: &Signing, force: bool, screen: Screen) -> Result<Exit, Failure> {
    let authority = Authority::open(&signing.dir)?;
    let (cert, key) = (signing.file(site, "crt"), signing.file(site, "key"));
    for path in [&cert, &key] {
        if path.exists() && !force {
            return Err(AuthorityFault::Exists(path.clone()).into());
        }
    }
    let (pair, _) = site_key(&key, true, force)?;
    let pem = authority.sign(&wanted(site, signing, &signing.hosts), &pair)?;
    write(&cert, pem.as_bytes(), false)?;
    say(&format!("Key {}: made, for this user alone", key.display()))?;
    signed(&cert, screen)?;
    let next = format!(
        "\nNext: at site {site}, [tls] with cert = \"{site}.crt\", key = \"{site}.key\" and ca = \"ca.crt\" (copy {} there, \
         too); then `landbridge check`.",
        signing.dir.join(CA_CERT).display()
    );
    say(&screen.prose(&next))?;
    Ok(Exit::Done)
}

fn ask(site: &SiteName, out: &Path, hosts: &[String], new_key: bool, screen: Screen) -> Result<Exit, Failure> {
    let (key, csr) = (out.join(format!("{site}.key")), out.join(format!("{site}.csr")));
    let (pair, was_there) = site_key(&key, new_key, new_key)?;
    let wanted = Wanted { site, days: SITE_DAYS, hosts };
    write(&csr, request(&wanted, &pair)?.as_bytes(), false)?;
    let how = if was_there { "was there and is used again" } else { "made, for this user alone" };
    say(&format!("Key {}: {how}. It stays here.", key.display()))?;
    say(&format!("Request {}: for site {site}; fingerprint of the key:", csr.display()))?;
    say(&format!("  {}", fingerprint(&pair.subject_public_key_info())))?;
    let next = format!("\nNext, at the authority: `landbridge cert sign {site}.csr --site {site} --dir DIR`.");
    say(&screen.prose(&next))?;
    Ok(Exit::Done)
}

fn sign(file: &Path, site: &SiteName, signing: &Signing, force: bool, screen: Screen) -> Result<Exit, Failure> {
    let authority = Authority::open(&signing.dir)?;
    let asked = read_request(file)?;
    if asked.site != *site {
        let what = format!("{} asks for a certificate of site {}, not of {site}", file.display(), asked.site);
        let next = "ask whoever sent it; nothing was signed";
        return Err(Failure::new(Exit::Configuration, what, next));
    }
    let cert = signing.file(site, "crt");
    if cert.exists() && !force {
        return Err(AuthorityFault::Exists(cert).into());
    }
    let left_out: Vec<_> = asked.hosts.iter().filter(|host| !signing.hosts.contains(host)).collect();
    for host in &left_out {
        say(&format!("Left out: host {host}, which the request asks for; --host {host} takes it."))?;
    }
    let pem = authority.sign(&wanted(site, signing, &signing.hosts), asked.key())?;
    write(&cert, pem.as_bytes(), false)?;
    say(&format!("Request {}: signed; fingerprint of its key:\n  {}", file.display(), asked.key_fingerprint))?;
    signed(&cert, screen)?;
    let next = format!(
        "\nNext: compare that fingerprint with the one that `cert request` printed at site {site}, and send {} and {} there.",
        cert.display(),
        signing.dir.join(CA_CERT).display()
    );
    say(&screen.prose(&next))?;
    Ok(Exit::Done)
}

fn renew(site: &SiteName, signing: &Signing, new_key: bool, screen: Screen) -> Result<Exit, Failure> {
    let authority = Authority::open(&signing.dir)?;
    let (cert, key) = (signing.file(site, "crt"), signing.file(site, "key"));
    if !cert.exists() {
        let what = format!("there is no certificate {} to renew", cert.display());
        let next = format!(
            "name its folder with --out, or make a first one: `landbridge cert issue {site} --dir {}`",
            signing.dir.display()
        );
        return Err(Failure::new(Exit::Configuration, what, next));
    }
    let (public, former) = certified_key(&cert)?;
    if former.site().ok().as_ref() != Some(site) {
        let what = format!("{} is no certificate of site {site}", cert.display());
        return Err(Failure::new(Exit::Configuration, what, "name the folder of the right one with --out"));
    }
    let hosts = if signing.hosts.is_empty() { &former.hosts } else { &signing.hosts };
    let wanted = wanted(site, signing, hosts);
    let pem = if new_key {
        // Signed before the key is replaced: where that fails, both files are as they were.
        let pair = rcgen::KeyPair::generate().map_err(AuthorityFault::from)?;
        let pem = authority.sign(&wanted, &pair)?;
        write(&key, pair.serialize_pem().as_bytes(), true)?;
        pem
    } else {
        authority.sign(&wanted, &public)?
    };
    write(&cert, pem.as_bytes(), false)?;
    if new_key {
        say(&format!("Key {}: made anew, for this user alone", key.display()))?;
    } else {
        say(&format!("Key of site {site}: the same as before"))?;
    }
    signed(&cert, screen)?;
    let next = format!(
        "\nNext: where the files of site {site} are elsewhere, copy them there. Its bridge notices by itself, or at once \
         with `landbridge reload`."
    );
    say(&screen.prose(&next))?;
    Ok(Exit::Done)
}

fn wanted<'a>(site: &'a SiteName, signing: &Signing, hosts: &'a [String]) -> Wanted<'a> {
    Wanted { site, days: signing.days, hosts }
}

/// Says what was signed, as it is in the file now.
fn signed(cert: &Path, _screen: Screen) -> Result<(), Failure> {
    let (_, made) = certified_key(cert)?;
    let site = made.site().map_or_else(|e| e.to_string(), |site| format!("site {site}"));
    say(&format!(
        "Certificate {}: {site}, from the authority {:?}, good until {}",
        cert.display(),
        made.issuer,
        until(&made)
    ))?;
    Ok(())
}

fn until(certificate: &Certificate) -> String {
    let days = match certificate.validity(now()) {
        Validity::Days(days) => count(days, "day"),
        Validity::Ended | Validity::NotYet => "not valid now".to_owned(),
    };
    format!("{} ({days})", day(certificate.ends))
}

impl From<AuthorityFault> for Failure {
    fn from(fault: AuthorityFault) -> Self {
        let what = fault.to_string();
        match fault {
            AuthorityFault::Exists(path) if path.ends_with(CA_KEY) || path.ends_with(CA_CERT) => Failure::usage(
                what,
                "name another folder with --dir; --force replaces the authority, and what it signed is then worth nothing",
            ),
            AuthorityFault::Exists(_) => Failure::usage(
                what,
                "`landbridge cert renew SITE` makes a new certificate in its place; --force replaces what is there",
            ),
            AuthorityFault::Asked(_) => Failure::usage(what, "correct it; nothing was written"),
            AuthorityFault::Read(_) | AuthorityFault::Content { .. } => Failure::new(
                Exit::Configuration,
                what,
                "name another file or folder; `landbridge cert authority --dir DIR --name COMPANY` makes an authority",
            ),
            AuthorityFault::Over { .. } => Failure::new(
                Exit::Configuration,
                what,
                "correct the clock, or make a new authority in a folder of its own (`landbridge cert authority`)",
            ),
            AuthorityFault::Write { .. } => {
                Failure::new(Exit::Configuration, what, "give this user the right to write that folder")
            }
            AuthorityFault::Made(_) | AuthorityFault::Random(_) => {
                Failure::new(Exit::Left, what, "try it on another machine, and report this")
            }
        }
    }
}
