use std::os::unix::fs::PermissionsExt;

use super::super::chain::tests::{keys, leaving};
use super::super::verify::{Report, Verifier};
use super::*;

/// A folder of its own for one test, taken away at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("landbridge-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("egress.audit")
    }

    /// The record as another process opens it.
    fn open(&self) -> RecordFile {
        self.open_with(keys(1))
    }

    fn open_with(&self, keys: Keys) -> RecordFile {
        RecordFile::new(&self.path(), keys, "1".parse().unwrap(), "work")
    }

    fn verify(&self, files: &[PathBuf]) -> Report {
        let keys = keys(1);
        let mut verifier = Verifier::new(Some(&keys), vec![]);
        for path in files {
            verifier.begin_file(&path.display().to_string());
            for line in Lines::of(&File::open(path).unwrap()).unwrap() {
                let line = line.unwrap();
                verifier.line(&line.bytes, line.ended);
            }
        }
        verifier.finish()
    }

    fn is_whole(&self) -> Report {
        let report = self.verify(&[self.path()]);
        assert_eq!(report.wrong, None, "{report:?}");
        report
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(text: &str) -> Vec<What> {
    vec![leaving(&[text], (1, 1), &keys(1))]
}

#[test]
fn the_file_is_private_and_several_processes_continue_each_other() {
    let folder = Folder::new("several");
    let (a, b) = (folder.open(), folder.open());
    assert!(matches!(a.end(), Err(AuditError::Missing { .. })) && !folder.path().exists());
    for round in 0..5 {
        a.append(one(&format!("a {round}"))).unwrap();
        b.append(one(&format!("b {round}"))).unwrap();
        folder.open().append(one(&format!("c {round}"))).unwrap();
    }
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let report = folder.is_whole();
    assert_eq!((report.entries, report.head.map(|h| h.seq)), (15, Some(16)));
    assert_eq!(a.end().unwrap().head, report.head.unwrap());
}

#[test]
fn many_threads_of_several_processes_lose_and_cross_nothing() {
    let folder = Folder::new("threads");
    let processes: Vec<_> = (0..3).map(|_| folder.open()).collect();
    std::thread::scope(|scope| {
        for process in processes.iter().chain(&processes) {
            scope.spawn(move || {
                for n in 0..20 {
                    process.append(one(&n.to_string())).unwrap();
                }
            });
        }
    });
    assert_eq!(folder.is_whole().entries, 120);
}

#[test]
fn wherever_a_write_stops_the_next_process_goes_on_and_says_so() {
    let folder = Folder::new("torn");
    let record = folder.open();
    record.append(one("whole")).unwrap();
    let before = fs::metadata(folder.path()).unwrap().len();
    record.append((1..=3).map(|n| leaving(&["of a batch"], (n, 3), &keys(1))).collect()).unwrap();
    let whole = fs::read(folder.path()).unwrap();
    for length in (before..whole.len() as u64).step_by(37).chain([0, 1, 50]) {
        fs::write(folder.path(), &whole[..length as usize]).unwrap();
        let head = folder.open().append(one("afterwards")).unwrap();
        let report = folder.is_whole();
        assert_eq!(report.head, Some(head), "cut at {length}");
        let at = length as usize;
        let begins = at == 0 || whole[at - 1] == b'\n' || whole[at] == b'\n';
        assert_eq!(report.torn, u64::from(!begins), "cut at {length}: {report:?}");
    }
}

#[test]
fn a_renamed_file_is_continued_by_those_who_had_it_and_by_those_who_had_not() {
    let folder = Folder::new("renamed");
    let had = folder.open();
    had.append(one("first")).unwrap();
    let aside = |n: &str| folder.0.join(format!("egress.audit.{n}"));
    fs::rename(folder.path(), aside("1")).unwrap();
    had.append(one("second")).unwrap();
    fs::rename(folder.path(), aside("2")).unwrap();
    folder.open().append(one("third")).unwrap();
    // One rotation unseen, with an empty file in its place as `create` of logrotate makes it.
    fs::rename(folder.path(), aside("3")).unwrap();
    fs::write(folder.path(), "").unwrap();
    had.append(one("fourth")).unwrap();
    let report = folder.verify(&[aside("1"), aside("2"), aside("3"), folder.path()]);
    assert_eq!((&report.wrong, report.entries), (&None, 4), "{report:?}");
    assert_eq!(folder.is_whole().after.unwrap().file.as_deref(), Some("egress.audit.3"));
}

#[test]
fn rotate_names_the_old_file_in_the_new_one_and_writers_follow() {
    let folder = Folder::new("rotate");
    let writer = folder.open();
    writer.append(one("first")).unwrap();
    let aside = folder.open().rotate(false).unwrap().unwrap();
    assert_eq!(aside, folder.0.join("egress.audit.2"));
    writer.append(one("second")).unwrap();
    let report = folder.verify(&[aside, folder.path()]);
    assert_eq!((&report.wrong, report.entries, report.head.map(|h| h.seq)), (&None, 2, Some(4)), "{report:?}");
}

#[test]
fn what_was_cut_replaced_or_deleted_stays_an_error_until_an_operator_accepts() {
    let cut = |folder: &Folder| {
        let bytes = fs::read(folder.path()).unwrap();
        let end = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
        File::options().write(true).open(folder.path()).unwrap().set_len(end as u64 + 1).unwrap();
    };
    let replace = |folder: &Folder| {
        let old = fs::read(folder.path()).unwrap();
        let other = folder.0.join("other");
        fs::write(&other, &old[..old.iter().position(|b| *b == b'\n').unwrap() + 1]).unwrap();
        fs::rename(other, folder.path()).unwrap();
    };
    let delete = |folder: &Folder| fs::remove_file(folder.path()).unwrap();
    let spoil =
        |folder: &Folder| File::options().append(true).open(folder.path()).unwrap().write_all(b"hello\n").unwrap();
    type Harm<'a> = &'a dyn Fn(&Folder);
    let cases: [(&str, Harm<'_>); 4] =
        [("cut", &cut), ("replaced", &replace), ("deleted", &delete), ("spoilt", &spoil)];
    for (name, harm) in cases {
        let folder = Folder::new(name);
        let writer = folder.open();
        for text in ["a", "b", "c"] {
            writer.append(one(text)).unwrap();
        }
        harm(&folder);
        let before = fs::read(folder.path()).unwrap_or_default();
        for _ in 0..3 {
            let error = writer.append(one("d")).unwrap_err();
            let told = error.to_string();
            assert!(
                told.contains(
                    ["replaced or cut", "deleted", "broken at its end"][match name {
                        "deleted" => 1,
                        "spoilt" => 2,
                        _ => 0,
                    }]
                ),
                "{name}: {told}"
            );
        }
        assert_eq!(fs::read(folder.path()).unwrap_or_default(), before, "{name}: nothing was written");
        let asked = folder.open();
        if name == "cut" || name == "replaced" {
            // From the file alone it cannot be seen; the operator puts it aside.
            fs::rename(folder.path(), folder.0.join("aside")).unwrap();
        }
        asked.rotate(true).unwrap();
        writer.append(one("d")).unwrap();
        assert_eq!(folder.is_whole().accepted.len(), 1, "{name}");
    }
}

#[test]
fn a_line_sealed_with_another_key_stops_everything_until_the_key_is_there_or_somebody_accepts() {
    let folder = Folder::new("key");
    folder.open_with(keys(2)).append(one("sealed by another")).unwrap();
    let error = folder.open().append(one("no")).unwrap_err();
    assert!(matches!(error, AuditError::UnknownKey { .. }), "{error}");
    let both = keys(1).with_former(&landbridge_core::Keyring::new([2; 32]));
    folder.open_with(both).append(one("yes")).unwrap();
    let report = folder.is_whole();
    assert_eq!((report.lines, report.sealed, report.vouched), (3, 1, Some(3)));

    let folder = Folder::new("key-accepted");
    folder.open_with(keys(2)).append(one("sealed by another")).unwrap();
    let aside = folder.open().rotate(true).unwrap().unwrap();
    folder.open().append(one("goes on")).unwrap();
    let report = folder.verify(&[aside, folder.path()]);
    assert_eq!((&report.wrong, report.accepted.len(), report.vouched), (&None, 1, Some(4)), "{report:?}");
}

#[test]
fn a_folder_or_a_device_is_no_record() {
    let folder = Folder::new("no-file");
    fs::create_dir(folder.path()).unwrap();
    assert!(matches!(folder.open().append(one("x")), Err(AuditError::Open { .. })));
    let null = RecordFile::new(Path::new("/dev/null"), keys(1), "1".parse().unwrap(), "work");
    assert!(matches!(null.append(one("x")), Err(AuditError::NoFile { .. })));
}
