//! From the file as written to the names of the files of TLS. What is in the files is read where they are used.

use std::path::Path;

use super::check::{Checker, DAY, MILLI, Section, TOP};
use super::checked::{TlsFiles, WARN_DEFAULT, WATCH_DEFAULT};
use super::file::ConfigFile;

impl Checker<'_> {
    /// `[tls]`; nothing where there is none, or where it has a fault.
    pub(super) fn tls(&mut self, file: &ConfigFile, folder: &Path, key_file: Option<&Path>) -> Option<TlsFiles> {
        let written = file.tls.as_ref()?;
        let section = Section { label: "[tls]", at: written.span().start };
        let tls = written.get_ref();
        let mut names = Vec::new();
        for (text, key, instead) in [
            (&tls.cert, "cert", "write `cert = \"SITE.crt\"`, which `landbridge cert issue SITE` makes"),
            (&tls.key, "key", "write `key = \"SITE.key\"`, which `landbridge cert issue SITE` makes"),
            (&tls.ca, "ca", "write `ca = \"ca.crt\"`, the file of the authority that signed the certificate"),
        ] {
            let value = self.required(text.as_ref(), section, key, instead);
            names.push(value.and_then(|value| self.file(value, key, folder, instead)));
        }
        let warn = self.duration(tls.warn.as_ref(), "warn", WARN_DEFAULT, DAY..=3650 * DAY);
        let watch = self.duration(tls.watch.as_ref(), "watch", WATCH_DEFAULT, 100 * MILLI..=DAY);
        let [cert, key, ca] = <[_; 3]>::try_from(names).ok()?;
        if key.is_some() && key.as_deref() == key_file {
            let at = tls.key.as_ref().map_or(section.at, |key| key.span().start);
            let what = "`key` in [tls] is the file that `key_file` names, which holds the keys of markers";
            self.fault(at, what, "give the key of the certificate a file of its own");
        }
        Some(TlsFiles { cert: cert?, key: key?, ca: ca?, warn, watch })
    }

    /// Whether there is a `[tls]`, be it right or wrong.
    pub(super) fn has_tls(&self, file: &ConfigFile) -> bool {
        file.tls.is_some() || self.is_spoiled(TOP, "tls")
    }
}
