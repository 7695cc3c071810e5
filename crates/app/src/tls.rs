//! The files of `[tls]`: read, with everything that is wrong with them said at once, and looked at for changes. What is in
//! them is judged by `landbridge_http`; how long they are still good is shown by `certificates`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use landbridge_http::{Authority, Pem, Tls};

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What this site shows over TLS and whom it believes; nothing without `[tls]`. Otherwise one sentence for each fault.
pub fn read(config: &Config) -> Result<Option<Tls>, Vec<String>> {
    let Some(files) = &config.tls else { return Ok(None) };
    let mut faults = Vec::new();
    let mut keep = |read: Result<Vec<u8>, String>| read.map_err(|fault| faults.push(fault)).ok();
    let (cert, key, ca) = (keep(text(&files.cert)), keep(private(&files.key)), keep(text(&files.ca)));
    let mut authorities: BTreeMap<&Path, Option<Arc<Authority>>> = BTreeMap::new();
    let known = |path: &PathBuf, pem: Vec<u8>| match Authority::from_pem(&path.display().to_string(), &pem) {
        Ok(authority) => Ok(Arc::new(authority)),
        Err(fault) => Err(fault.to_string()),
    };
    let ca = ca.and_then(|pem| known(&files.ca, pem).map_err(|fault| faults.push(fault)).ok());
    for path in config.peers.iter().filter_map(|peer| peer.ca.as_ref()) {
        if !authorities.contains_key(path.as_path()) {
            let read = text(path).and_then(|pem| known(path, pem)).map_err(|fault| faults.push(fault)).ok();
            authorities.insert(path, read);
        }
    }
    let mut tls = None;
    if let (Some(cert), Some(key), Some(ca)) = (cert, key, ca) {
        let (cert_file, key_file) = (files.cert.display().to_string(), files.key.display().to_string());
        let (cert, key) = (Pem { file: &cert_file, text: &cert }, Pem { file: &key_file, text: &key });
        match Tls::new(&config.site, cert, key, ca) {
            Ok(made) => tls = Some(made),
            Err(wrong) => faults.extend(wrong.iter().map(ToString::to_string)),
        }
    }
    match tls {
        Some(mut tls) if faults.is_empty() => {
            for peer in &config.peers {
                let authority = peer.ca.as_ref().and_then(|path| authorities.get(path.as_path()).cloned().flatten());
                tls.believe(peer.name.clone(), authority);
            }
            Ok(Some(tls))
        }
        _ => Err(faults),
    }
}

/// The same as a failure of a command.
pub fn load(config: &Config) -> Result<Option<Arc<Tls>>, Failure> {
    let next = "`landbridge check` looks at every file of [tls]; `landbridge cert --help` says how they are made";
    let read = read(config).map_err(|faults| {
        let what = format!("the files of [tls] cannot be used:\n{}", faults.join("\n"));
        Failure::new(Exit::Configuration, what, next)
    });
    Ok(read?.map(Arc::new))
}

/// What is in a file that anybody may read.
pub fn text(path: &Path) -> Result<Vec<u8>, String> {
    whole(path, |_| Ok(()))
}

/// What is in a file with a private key. On Unix it is refused where other users may read or write it.
pub fn private(path: &Path) -> Result<Vec<u8>, String> {
    whole(path, |file| {
        // The mode of the file that was opened, not of what the name means by now.
        #[cfg(unix)]
        if let Ok(metadata) = file.metadata() {
            use std::os::unix::fs::PermissionsExt;
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                let path = path.display();
                return Err(format!("the key {path} is open to other users (mode {mode:04o}); `chmod 600 {path}`"));
            }
        }
        let _ = file;
        Ok(())
    })
}

fn whole(path: &Path, allowed: impl FnOnce(&File) -> Result<(), String>) -> Result<Vec<u8>, String> {
    let wrong = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("{} cannot be read: {e}; give the user who runs the bridge the right to read it", path.display())
        }
        _ => format!("{} cannot be read: {e}", path.display()),
    };
    let file = File::open(path).map_err(wrong)?;
    allowed(&file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 1 MiB, so it is not what it should be", path.display()));
    }
    Ok(bytes)
}

/// Of each file of `[tls]` when it was last written and how long it is: cheap to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Stamps {
    /// Of the files of `config`, as they are now.
    pub fn of(config: &Config) -> Self {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self(config.tls_files().map(|path| (path.to_owned(), stamp(path))).collect())
    }
}
