//! Where the server is and who asks: the URL of the configuration, taken apart. What a connection is set to once it is
//! open is `pool`'s.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, SslOpts};

/// How a connection is kept from others' eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ssl {
    Disabled,
    Required,
    VerifyCa,
    VerifyIdentity,
}

/// Where the database is and how it is used. `Debug` and [`MysqlOptions::shown`] leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlOptions {
    user: String,
    password: Option<String>,
    host: String,
    port: u16,
    database: String,
    socket: Option<String>,
    ssl: Ssl,
    ssl_ca: Option<PathBuf>,
    /// How long a lock is waited for, before `StoreError::Busy`. The server counts whole seconds.
    pub busy: Duration,
}

impl fmt::Debug for MysqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ssl, ssl_ca, busy, .. } = self;
        f.debug_struct("MysqlOptions")
            .field("url", &self.shown())
            .field("ssl", ssl)
            .field("ssl_ca", ssl_ca)
            .field("busy", busy)
            .finish()
    }
}

/// What is said of a URL that is none. The URL itself may hold a password and is not repeated.
const SHAPE: &str = "is written mysql://USER:PASSWORD@HOST:PORT/DATABASE";

impl MysqlOptions {
    /// Takes a URL apart: `mysql://` or `mariadb://`, user, password, host, port and database, with `%40` for an `@`.
    /// Parameters: `ssl-mode` = `disabled`, `required`, `verify_ca` or `verify_identity`; `ssl-ca` = the file of the
    /// authority; `socket` = the path of a Unix socket. With this driver `verify_ca` verifies the host's name too.
    ///
    /// Without `ssl-mode`, another machine must prove who it is, and this one need not.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(url: &str) -> Result<Self, String> {
        let shape = || format!("the url of a MySQL or MariaDB database {SHAPE}");
        let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://")).ok_or_else(shape)?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, database) = rest.split_once('/').ok_or_else(shape)?;
        let (login, place) = server.rsplit_once('@').unwrap_or(("", server));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (login, None),
        };
        let (host, port) = host_and_port(place)?;
        let database = decoded(database)?;
        if database.is_empty() || database.contains('/') {
            return Err(format!("the url names no database: it {SHAPE}"));
        }
        let mut options = Self {
            user: decoded(user)?,
            password,
            host: if host.is_empty() { "localhost".to_owned() } else { decoded(&host)? },
            port,
            database,
            socket: None,
            ssl: Ssl::Disabled,
            ssl_ca: None,
            busy: Duration::from_secs(5),
        };
        let mut ssl = None;
        for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decoded(value)?;
            match name {
                "ssl-mode" => ssl = Some(ssl_mode(&value)?),
                "ssl-ca" => options.ssl_ca = Some(PathBuf::from(value)),
                "socket" => options.socket = Some(value),
                other => {
                    return Err(format!(
                        "the url has a parameter {other}, which is not known. There are ssl-mode, ssl-ca and socket"
                    ));
                }
            }
        }
        let far = options.socket.is_none() && !options.is_loopback();
        options.ssl = ssl.unwrap_or(match far || options.ssl_ca.is_some() {
            true => Ssl::VerifyIdentity,
            false => Ssl::Disabled,
        });
        Ok(options)
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.password = Some(password);
        self
    }

    /// The URL without the password.
    pub fn shown(&self) -> String {
        let at = if self.user.is_empty() { "" } else { "@" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.socket {
            Some(socket) => format!("mysql://{}{at}{host}/{}?socket={socket}", self.user, self.database),
            None => format!("mysql://{}{at}{host}:{}/{}", self.user, self.port, self.database),
        }
    }

    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
    }

    /// In the driver's words.
    pub(super) fn driver(&self) -> Opts {
        let ssl = match self.ssl {
            Ssl::Disabled => None,
            mode => {
                let roots: Vec<_> = self.ssl_ca.iter().map(|ca| ca.clone().into()).collect();
                let own = !roots.is_empty();
                Some(
                    SslOpts::default()
                        .with_root_certs(roots)
                        .with_disable_built_in_roots(own)
                        .with_danger_accept_invalid_certs(mode == Ssl::Required)
                        .with_danger_skip_domain_validation(mode != Ssl::VerifyIdentity),
                )
            }
        };
        // The driver would else change over to the server's socket, past whatever was configured.
        let opts = OptsBuilder::default()
            .ip_or_hostname(&self.host)
            .tcp_port(self.port)
            .user(Some(&self.user))
            .pass(self.password.as_deref())
            .db_name(Some(&self.database))
            .socket(self.socket.as_deref())
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .stmt_cache_size(64)
            .ssl_opts(ssl);
        opts.into()
    }

    /// The patience as the server takes it.
    pub(super) fn busy_seconds(&self) -> u64 {
        let whole = self.busy.as_secs() + u64::from(self.busy.subsec_nanos() > 0);
        whole.clamp(1, 31_536_000)
    }
}

fn host_and_port(place: &str) -> Result<(String, u16), String> {
    let port = |text: &str| text.parse().map_err(|_| "the port of the url is a number up to 65535".to_owned());
    if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(|| format!("the url {SHAPE}"))?;
        return match behind.strip_prefix(':') {
            Some(number) => Ok((host.to_owned(), port(number)?)),
            None => Ok((host.to_owned(), 3306)),
        };
    }
    match place.rsplit_once(':') {
        Some((host, number)) => Ok((host.to_owned(), port(number)?)),
        None => Ok((place.to_owned(), 3306)),
    }
}

fn ssl_mode(value: &str) -> Result<Ssl, String> {
    match value.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" => Ok(Ssl::Disabled),
        "required" => Ok(Ssl::Required),
        "verify_ca" => Ok(Ssl::VerifyCa),
        "verify_identity" => Ok(Ssl::VerifyIdentity),
        _ => Err("ssl-mode of the url is one of disabled, required, verify_ca and verify_identity".to_owned()),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "a percent sign in the url is written %25, and every %XX has two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = behind.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit)).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = behind.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_password_never_shown() {
        let options = MysqlOptions::parse("mariadb://br%40dge:s%2Fcr%25t@db.example:3307/help%20desk").unwrap();
        assert_eq!((options.user.as_str(), options.password.as_deref()), ("br@dge", Some("s/cr%t")));
        assert_eq!((options.host.as_str(), options.port, options.database.as_str()), ("db.example", 3307, "help desk"));
        assert!(!format!("{options:?} {}", options.shown()).contains("cr%t"));
        assert_eq!(options.shown(), "mysql://br@dge@db.example:3307/help desk");
        let options = options.with_password("other".into());
        assert_eq!(options.driver().pass(), Some("other"));
    }

    #[test]
    fn another_machine_must_prove_who_it_is_and_this_one_need_not() {
        let ssl = |url: &str| MysqlOptions::parse(url).unwrap().ssl;
        assert_eq!(ssl("mysql://u@db.example/d"), Ssl::VerifyIdentity);
        for near in ["mysql://u@localhost/d", "mysql://u@127.0.0.1:3306/d", "mysql://u@[::1]:3306/d"] {
            assert_eq!(ssl(near), Ssl::Disabled, "{near}");
        }
        assert_eq!(ssl("mysql://u@db/d?socket=%2Frun%2Fm.sock"), Ssl::Disabled);
        assert_eq!(ssl("mysql://u@db/d?ssl-mode=VERIFY_CA&ssl-ca=ca.pem"), Ssl::VerifyCa);
        assert_eq!(ssl("mysql://u@localhost/d?ssl-mode=required"), Ssl::Required);
    }

    #[test]
    fn what_is_no_url_is_said_without_repeating_it() {
        for bad in [
            "postgres://u:secret@h/d",
            "mysql://u:secret@h",
            "mysql://u:secret@h/",
            "mysql://u:secret@h:port/d",
            "mysql://u:secret%zz@h/d",
            "mysql://u:secret@h/d?ssl-mode=maybe",
            "mysql://u:secret@h/d?what=1",
            "mysql://u:secret@[::1/d",
        ] {
            let said = MysqlOptions::parse(bad).unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
