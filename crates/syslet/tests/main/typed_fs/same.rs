//! Any sequence of operations does what std does.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{Operation, fs};

use crate::util::temp::Folder;
use crate::util::{Property, attached, bounded};

/// Files, directories and links that sequences work on. Some lie in others.
const NAMES: [&str; 9] = ["a", "b", "d", "d/a", "d/e", "d/e/f", "l", "d/l", "a/x"];

type Name = usize;

#[derive(Debug, Clone)]
enum Step {
    Write(Name, Vec<u8>),
    Read(Name),
    ReadToString(Name),
    Metadata(Name),
    SymlinkMetadata(Name),
    TryExists(Name),
    Canonicalize(Name),
    ReadLink(Name),
    List(Name),
    CreateDir(Name),
    CreateDirAll(Name),
    RemoveFile(Name),
    RemoveDir(Name),
    RemoveDirAll(Name),
    SetPermissions(Name, u32),
    Rename(Name, Name),
    Copy(Name, Name),
    HardLink(Name, Name),
    Symlink(Name, Name),
    /// Opens with these options, writes or reads at an offset, sets the length.
    Open(Name, u8, u64),
}

/// What came of a step, in a form that can be compared.
type Outcome = Result<String, (io::ErrorKind, Option<i32>)>;

fn outcome<T: std::fmt::Debug>(result: io::Result<T>) -> Outcome {
    result.map(|value| format!("{value:?}")).map_err(|e| (e.kind(), e.raw_os_error()))
}

fn facts(metadata: &std::fs::Metadata) -> (bool, bool, u32, u64, u64) {
    let length = if metadata.is_dir() { 0 } else { metadata.len() };
    (metadata.is_file(), metadata.is_dir(), metadata.mode(), metadata.nlink(), length)
}

/// Waits for an operation, in one of the two ways.
fn done<T>(operation: Operation<T>, await_it: bool) -> T {
    if await_it { futures_executor::block_on(operation) } else { operation.wait() }
}

/// Makes the paths comparable between two folders.
fn without(root: &Path, path: io::Result<PathBuf>) -> io::Result<PathBuf> {
    path.map(|path| path.strip_prefix(root).map_or(path.clone(), Path::to_owned))
}

fn by_std(root: &Path, step: &Step) -> Outcome {
    let at = |name: &Name| root.join(NAMES[*name]);
    match step {
        Step::Write(name, bytes) => outcome(std::fs::write(at(name), bytes)),
        Step::Read(name) => outcome(std::fs::read(at(name))),
        Step::ReadToString(name) => outcome(std::fs::read_to_string(at(name))),
        Step::Metadata(name) => outcome(std::fs::metadata(at(name)).map(|m| facts(&m))),
        Step::SymlinkMetadata(name) => {
            outcome(std::fs::symlink_metadata(at(name)).map(|m| facts(&m)))
        }
        Step::TryExists(name) => outcome(std::fs::exists(at(name))),
        Step::Canonicalize(name) => outcome(without(root, std::fs::canonicalize(at(name)))),
        Step::ReadLink(name) => outcome(without(root, std::fs::read_link(at(name)))),
        Step::List(name) => outcome(std::fs::read_dir(at(name)).and_then(|entries| {
            let mut all = Vec::new();
            for entry in entries {
                let entry = entry?;
                all.push((entry.file_name(), entry.file_type()?, facts(&entry.metadata()?)));
            }
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(all)
        })),
        Step::CreateDir(name) => outcome(std::fs::create_dir(at(name))),
        Step::CreateDirAll(name) => outcome(std::fs::create_dir_all(at(name))),
        Step::RemoveFile(name) => outcome(std::fs::remove_file(at(name))),
        Step::RemoveDir(name) => outcome(std::fs::remove_dir(at(name))),
        Step::RemoveDirAll(name) => outcome(std::fs::remove_dir_all(at(name))),
        Step::SetPermissions(name, mode) => {
            outcome(std::fs::set_permissions(at(name), Permissions::from_mode(*mode)))
        }
        Step::Rename(from, to) => outcome(std::fs::rename(at(from), at(to))),
        Step::Copy(from, to) => outcome(std::fs::copy(at(from), at(to))),
        Step::HardLink(from, to) => outcome(std::fs::hard_link(at(from), at(to))),
        Step::Symlink(from, to) => outcome(std::os::unix::fs::symlink(NAMES[*from], at(to))),
        Step::Open(name, bits, offset) => outcome(open_by_std(&at(name), *bits, *offset)),
    }
}

type Opened = (Result<usize, io::ErrorKind>, Result<(usize, Vec<u8>), io::ErrorKind>, u64);

fn open_by_std(path: &Path, bits: u8, offset: u64) -> io::Result<Opened> {
    use std::os::unix::fs::FileExt;
    let bit = |at: u8| bits & (1 << at) != 0;
    let mut options = std::fs::OpenOptions::new();
    options.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3));
    let file = options.create(bit(4)).create_new(bit(5)).mode(0o640).open(path)?;
    let written = file.write_at(b"hello", offset).map_err(|error| error.kind());
    let mut buf = vec![9; 6];
    let read = file.read_at(&mut buf, offset / 2).map_err(|error| error.kind());
    let read = read.map(|count| (count, buf));
    let _ = file.set_len(offset + 3);
    Ok((written, read, file.metadata()?.len()))
}

fn open_by_us(path: &Path, bits: u8, offset: u64, w: bool) -> io::Result<Opened> {
    let bit = |at: u8| bits & (1 << at) != 0;
    let mut options = fs::OpenOptions::new();
    options.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3));
    let open = options.create(bit(4)).create_new(bit(5)).mode(0o640).open(path);
    let file = done(open, w)?;
    let (written, back) = done(file.write_at("hello", offset), w);
    assert_eq!(back, "hello");
    let (read, buf) = done(file.read_at(vec![9; 6], offset / 2), w);
    let read = read.map(|count| (count, buf)).map_err(|error| error.kind());
    let _ = done(file.set_len(offset + 3), w);
    Ok((written.map_err(|error| error.kind()), read, done(file.metadata(), w)?.len()))
}

fn by_us(root: &Path, step: &Step, w: bool) -> Outcome {
    let at = |name: &Name| root.join(NAMES[*name]);
    match step {
        Step::Write(name, bytes) => outcome(done(fs::write(at(name), bytes.clone()), w)),
        Step::Read(name) => outcome(done(fs::read(at(name)), w)),
        Step::ReadToString(name) => outcome(done(fs::read_to_string(at(name)), w)),
        Step::Metadata(name) => outcome(done(fs::metadata(at(name)), w).map(|m| facts(&m))),
        Step::SymlinkMetadata(name) => {
            outcome(done(fs::symlink_metadata(at(name)), w).map(|m| facts(&m)))
        }
        Step::TryExists(name) => outcome(done(fs::try_exists(at(name)), w)),
        Step::Canonicalize(name) => outcome(without(root, done(fs::canonicalize(at(name)), w))),
        Step::ReadLink(name) => outcome(without(root, done(fs::read_link(at(name)), w))),
        Step::List(name) => outcome(done(fs::read_dir(at(name)), w).and_then(|entries| {
            let mut all = Vec::new();
            for entry in entries {
                let entry = entry?;
                let facts = facts(&done(entry.metadata(), w)?);
                all.push((entry.file_name(), entry.file_type()?, facts));
            }
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(all)
        })),
        Step::CreateDir(name) => outcome(done(fs::create_dir(at(name)), w)),
        Step::CreateDirAll(name) => outcome(done(fs::create_dir_all(at(name)), w)),
        Step::RemoveFile(name) => outcome(done(fs::remove_file(at(name)), w)),
        Step::RemoveDir(name) => outcome(done(fs::remove_dir(at(name)), w)),
        Step::RemoveDirAll(name) => outcome(done(fs::remove_dir_all(at(name)), w)),
        Step::SetPermissions(name, mode) => {
            outcome(done(fs::set_permissions(at(name), Permissions::from_mode(*mode)), w))
        }
        Step::Rename(from, to) => outcome(done(fs::rename(at(from), at(to)), w)),
        Step::Copy(from, to) => outcome(done(fs::copy(at(from), at(to)), w)),
        Step::HardLink(from, to) => outcome(done(fs::hard_link(at(from), at(to)), w)),
        Step::Symlink(from, to) => outcome(done(fs::symlink(NAMES[*from], at(to)), w)),
        Step::Open(name, bits, offset) => outcome(open_by_us(&at(name), *bits, *offset, w)),
    }
}

/// All that is in a folder: names, kinds, modes, contents.
fn tree(root: &Path, at: &Path, lines: &mut Vec<String>) {
    let mut paths: Vec<_> = std::fs::read_dir(at)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    for path in paths {
        let metadata = std::fs::symlink_metadata(&path).expect("it is there");
        let name = path.strip_prefix(root).expect("within").display();
        let contents = if metadata.is_symlink() {
            std::fs::read_link(&path).expect("a link").display().to_string()
        } else if metadata.is_file() {
            format!("{:?}", std::fs::read(&path).expect("a file"))
        } else {
            String::new()
        };
        lines.push(format!("{name} {:?} {contents}", facts(&metadata)));
        if metadata.is_dir() {
            tree(root, &path, lines);
        }
    }
}

fn play(steps: &[Step]) {
    let (theirs, ours) = (Folder::new(), Folder::new());
    for (number, step) in steps.iter().enumerate() {
        let expected = by_std(theirs.path(), step);
        let got = by_us(ours.path(), step, number % 2 == 1);
        assert_eq!(got, expected, "step {number}: {step:?} of {steps:?}");
    }
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    tree(theirs.path(), theirs.path(), &mut expected);
    tree(ours.path(), ours.path(), &mut got);
    assert_eq!(got, expected, "after {steps:?}");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES.len();
    let two = || (name(), name());
    let step = prop_oneof![
        4 => (name(), vec(any::<u8>(), 0..20)).prop_map(|(name, bytes)| Step::Write(name, bytes)),
        1 => name().prop_map(Step::Read),
        1 => name().prop_map(Step::ReadToString),
        1 => name().prop_map(Step::Metadata),
        1 => name().prop_map(Step::SymlinkMetadata),
        1 => name().prop_map(Step::TryExists),
        1 => name().prop_map(Step::Canonicalize),
        1 => name().prop_map(Step::ReadLink),
        1 => name().prop_map(Step::List),
        2 => name().prop_map(Step::CreateDir),
        2 => name().prop_map(Step::CreateDirAll),
        1 => name().prop_map(Step::RemoveFile),
        1 => name().prop_map(Step::RemoveDir),
        1 => name().prop_map(Step::RemoveDirAll),
        1 => (name(), 0o400u32..0o1000).prop_map(|(name, mode)| Step::SetPermissions(name, mode)),
        2 => two().prop_map(|(from, to)| Step::Rename(from, to)),
        2 => two().prop_map(|(from, to)| Step::Copy(from, to)),
        1 => two().prop_map(|(from, to)| Step::HardLink(from, to)),
        2 => two().prop_map(|(from, to)| Step::Symlink(from, to)),
        3 => (name(), 0u8..64, 0u64..9).prop_map(|(name, bits, at)| Step::Open(name, bits, at)),
    ];
    vec(step, 1..40)
}

#[test]
fn any_sequence_does_what_std_does() {
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let property = Property::tried();
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        attached(move || play(&steps));
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    property.held();
}

#[test]
fn sequences_of_threads_that_are_not_attached_and_of_threadlets_do_too() {
    let config = ProptestConfig { cases: 10, failure_persistence: None, ..Default::default() };
    let property = Property::tried();
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let again = steps.clone();
        bounded(crate::util::LIMIT, move || play(&steps));
        bounded(crate::util::LIMIT, move || syslet::threadlet(move || play(&again)).join());
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    property.held();
}

#[test]
fn every_combination_of_options_opens_as_std_does() {
    attached(|| {
        for (bits, exists) in (0..64).flat_map(|bits| [(bits, false), (bits, true)]) {
            let (theirs, ours) = (Folder::new(), Folder::new());
            if exists {
                std::fs::write(theirs.at("f"), "some text").expect("a file can be written");
                std::fs::write(ours.at("f"), "some text").expect("a file can be written");
            }
            let expected = outcome(open_by_std(&theirs.at("f"), bits, 4));
            let got = outcome(open_by_us(&ours.at("f"), bits, 4, bits % 2 == 0));
            assert_eq!(got, expected, "bits {bits:#b}, exists: {exists}");
            let contents = |folder: &Folder| std::fs::read(folder.at("f")).ok();
            assert_eq!(contents(&ours), contents(&theirs), "bits {bits:#b}, exists: {exists}");
        }
    });
}

#[test]
fn custom_flags_and_modes_are_passed_on() {
    attached(|| {
        let folder = Folder::new();
        let options = |flags| {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).mode(0o604).custom_flags(flags);
            options
        };
        drop(options(0).open(folder.at("f")).wait().expect("a file can be made"));
        let mode = std::fs::metadata(folder.at("f")).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o604);
        std::os::unix::fs::symlink("f", folder.at("l")).expect("a link can be made");
        let refused = options(libc::O_NOFOLLOW).open(folder.at("l")).wait();
        assert_eq!(refused.expect_err("a link").raw_os_error(), Some(libc::ELOOP));
    });
}

#[test]
fn path_with_a_nul_is_invalid_input() {
    fn refused<T>(operation: Operation<io::Result<T>>) {
        match operation.wait() {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidInput),
            Ok(_) => panic!("a path with a NUL was taken"),
        }
    }
    attached(|| {
        let (bad, good) = ("a\0b", "/nowhere");
        refused(fs::File::open(bad));
        refused(fs::File::create(bad));
        refused(fs::metadata(bad));
        refused(fs::symlink_metadata(bad));
        refused(fs::read(bad));
        refused(fs::read_to_string(bad));
        refused(fs::write(bad, "x"));
        refused(fs::read_dir(bad));
        refused(fs::rename(bad, good));
        refused(fs::rename(good, bad));
        refused(fs::copy(bad, good));
        refused(fs::hard_link(bad, good));
        refused(fs::symlink(good, bad));
        refused(fs::read_link(bad));
        refused(fs::remove_file(bad));
        refused(fs::remove_dir(bad));
        refused(fs::remove_dir_all(bad));
        refused(fs::create_dir(bad));
        refused(fs::create_dir_all(bad));
        refused(fs::canonicalize(bad));
        refused(fs::try_exists(bad));
        refused(fs::set_permissions(bad, Permissions::from_mode(0o600)));
        refused(syslet::net::connect_unix(bad));
    });
}
