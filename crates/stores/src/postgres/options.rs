//! How a PostgreSQL database is reached: the url as libpq writes it, and what the bridge adds to it. Whether the
//! server is believed to be itself is decided in `tls`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How the server has to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS at all.
    Plain,
    /// TLS where the server has it; nothing is verified.
    Prefer,
    /// TLS; nothing is verified.
    Unverified,
    /// The certificate is of a known authority.
    Authority,
    /// The certificate is of a known authority and names this host.
    Full,
}

/// How a database is reached and used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// How long a lock is waited for, before `StoreError::Busy`.
    pub busy: Duration,
    pub(super) config: Config,
    pub(super) trust: Trust,
    /// The authorities in PEM; those of the web where absent.
    pub(super) roots: Option<PathBuf>,
}

impl PostgresOptions {
    /// Reads a url: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?KEY=VALUE&...`, several hosts with commas between
    /// them, `target_session_attrs=read-write` where the writable one of them is meant. A unix socket is named by its
    /// folder: `postgres:///desk?host=/var/run/postgresql`.
    ///
    /// `sslmode` is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`; `sslrootcert` names a file of
    /// authorities in PEM, those of the web where absent. Without `sslmode` it is `verify-full`, and no TLS where
    /// every host is this machine. As with libpq, `require` without `sslrootcert` encrypts and verifies nothing:
    /// it keeps out who listens, not who pretends to be the server; `prefer` may even fall back to no TLS.
    ///
    /// # Errors
    /// A sentence that names the part at fault and never has the password in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| NO_URL.to_owned())?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(NO_URL.to_owned());
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut mode, mut roots, mut kept) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').ok_or("the url has a parameter without a value")? {
                ("sslmode", value) => mode = Some(value.to_owned()),
                ("sslrootcert", value) => roots = Some(PathBuf::from(decoded(value)?)),
                ("target_session_attrs", "primary") => kept.push("target_session_attrs=read-write".to_owned()),
                ("target_session_attrs", "standby" | "prefer-standby" | "read-only") => {
                    return Err("target_session_attrs: the bridge writes markers, so it needs read-write".to_owned());
                }
                (key @ ("sslcert" | "sslkey" | "sslpassword" | "sslcrl"), _) => {
                    return Err(format!(
                        "{key} is not supported: give the user a password, or let it in by its address"
                    ));
                }
                _ => kept.push(pair.to_owned()),
            }
        }
        let url = format!("{scheme}://{address}?{}", kept.join("&"));
        let mut config: Config = url.parse().map_err(|e| wrong(&e))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            default_host(&mut config);
        }
        let trust = trust(mode.as_deref(), roots.is_some(), &config)?;
        config.ssl_mode(match trust {
            Trust::Plain => SslMode::Disable,
            Trust::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("landbridge");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        config.keepalives(true).keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        Ok(Self { busy: Duration::from_secs(5), config, trust, roots })
    }

    /// The same with another password.
    pub fn with_password(mut self, password: String) -> Self {
        self.config.password(password);
        self
    }

    /// The database without the password, for messages.
    pub fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let mut places: Vec<String> = Vec::new();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let host = match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
                Host::Tcp(name) => name.clone(),
                Host::Unix(folder) => folder.display().to_string(),
            };
            let port = ports.get(at).or(ports.first()).filter(|port| **port != 5432);
            places.push(port.map_or(host.clone(), |port| format!("{host}:{port}")));
        }
        if places.is_empty() {
            places.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        let user = self.config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("postgres://{user}{}/{database}", places.join(","))
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("url", &self.shown())
            .field("trust", &self.trust)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

const NO_URL: &str = "a PostgreSQL database is written postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// What the driver says of a url: it names keys, not values.
fn wrong(e: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(e).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("the url of the database cannot be read{cause}")
}

/// Where libpq looks when no host is named.
fn default_host(config: &mut Config) {
    const SOCKETS: &str = "/var/run/postgresql";
    if cfg!(unix) && std::path::Path::new(SOCKETS).is_dir() {
        config.host(SOCKETS);
    } else {
        config.host("localhost");
    }
}

fn trust(mode: Option<&str>, roots: bool, config: &Config) -> Result<Trust, String> {
    Ok(match mode {
        Some("disable") => Trust::Plain,
        Some("prefer" | "allow") => Trust::Prefer,
        Some("require") if roots => Trust::Authority,
        Some("require") => Trust::Unverified,
        Some("verify-ca") => Trust::Authority,
        Some("verify-full") => Trust::Full,
        Some(_) => return Err("sslmode is disable, prefer, require, verify-ca or verify-full".to_owned()),
        None if is_here(config) => Trust::Plain,
        None => Trust::Full,
    })
}

/// Whether every host is this machine.
fn is_here(config: &Config) -> bool {
    let here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    };
    let addresses = config.get_hostaddrs();
    if addresses.is_empty() {
        config.get_hosts().iter().all(here)
    } else {
        addresses.iter().all(std::net::IpAddr::is_loopback)
    }
}

/// A percent-decoded value.
fn decoded(value: &str) -> Result<String, String> {
    let wrong = || "sslrootcert: a % in a url stands before two hexadecimal digits".to_owned();
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let digits = rest.get(..2).and_then(|d| std::str::from_utf8(d).ok()).ok_or_else(wrong)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_must_prove_who_it_is_unless_the_url_says_otherwise() {
        for (url, trust) in [
            ("postgres://desk@db.example/desk", Trust::Full),
            ("postgresql://desk@127.0.0.1:5433/desk", Trust::Plain),
            ("postgres://desk@[::1]/desk", Trust::Plain),
            ("postgres://desk@localhost,db.example/desk", Trust::Full),
            ("postgres:///desk?host=/var/run/postgresql", Trust::Plain),
            ("postgres://desk@%2Fvar%2Frun/desk", Trust::Plain),
            ("postgres://desk@db/desk?sslmode=require", Trust::Unverified),
            ("postgres://desk@db/desk?sslmode=require&sslrootcert=ca.pem", Trust::Authority),
            ("postgres://desk@db/desk?sslmode=verify-ca", Trust::Authority),
            ("postgres://desk@db/desk?sslmode=disable", Trust::Plain),
        ] {
            assert_eq!(PostgresOptions::parse(url).unwrap().trust, trust, "{url}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let options = PostgresOptions::parse("postgres://desk:s3cret@a.example:5433,b.example:5434/helpdesk").unwrap();
        assert_eq!(options.shown(), "postgres://desk@a.example:5433,b.example:5434/helpdesk");
        let options = options.with_password("0ther".to_owned());
        for shown in [options.shown(), format!("{options:?}")] {
            assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
        }
        for bad in [
            "postgres://desk:s3cret@h:port/d",
            "postgres://desk:s3cret@h/d?sslmode=s3cret",
            "postgres://desk:s3cret@h/d?nonsense=s3cret",
            "postgres://desk:s3cret@h/d?sslrootcert=%s3",
            "mysql://desk:s3cret@h/d",
        ] {
            let said = PostgresOptions::parse(bad).unwrap_err();
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
