use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{mkfifo, pipe};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// As the process writes it that it is handed on to.
fn written(file: &Growing, bytes: &[u8]) {
    let Handed::File(descriptor) = file.handed_on().unwrap() else { panic!("a file") };
    File::from(descriptor).write_all(bytes).unwrap();
}

fn growing(path: &Path) -> Result<Growing, UserError> {
    Growing::open(path)
}

#[test]
fn a_file_appears_whole_and_private_and_there_is_nothing_before() {
    let folder = folder();
    let path = folder.path().join("report.json");
    let file = AtomicFile::create(&path).unwrap();
    assert_eq!(entries(folder.path()), 0);
    file.finish(b"{}").unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"{}"[..], 0o600));
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn an_earlier_file_is_replaced_by_a_private_one_and_its_other_names_keep_the_old() {
    let folder = folder();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for grows in [false, true] {
        fs::write(&one, "old").unwrap();
        fs::set_permissions(&one, fs::Permissions::from_mode(0o666)).unwrap();
        fs::hard_link(&one, &other).unwrap();
        if grows {
            let file = growing(&one).unwrap();
            assert_eq!((fs::read(&one).unwrap().len(), mode(&one)), (0, 0o600));
            written(&file, b"new");
        } else {
            let file = AtomicFile::create(&one).unwrap();
            assert_eq!(fs::read(&one).unwrap(), b"old");
            file.finish(b"new").unwrap();
        }
        assert_eq!((fs::read(&one).unwrap().as_slice(), mode(&one)), (&b"new"[..], 0o600));
        assert_eq!(fs::read(&other).unwrap(), b"old");
        assert_eq!(entries(folder.path()), 2);
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn without_nameless_files_it_is_the_same() {
    let folder = folder();
    let path = folder.path().join("x");
    let place = match Target::open(&path).unwrap() {
        Target::New(place) => place,
        Target::Stream(_) => panic!("a new file"),
    };
    AtomicFile { path: path.clone(), to: To::Later(place) }.finish(b"{}").unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"{}"[..], 0o600));
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn the_file_of_another_user_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("x");
    fs::write(&path, "theirs").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    if chown(&path, Some(61_503), None).is_err() {
        return; // only root has files of others
    }
    for user_error in [AtomicFile::create(&path).unwrap_err(), growing(&path).err().unwrap()] {
        assert!(user_error.what.contains("x belongs to user 61503"), "{user_error:?}");
        assert_ne!(user_error.hint.len(), 0);
    }
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::from_bits_truncate(0o666)).unwrap();
    chown(&pipe, Some(61_503), None).unwrap();
    let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
    assert!(AtomicFile::create(&pipe).unwrap_err().what.contains("belongs to user 61503"));
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().uid()), (0o666, 61_503));
}

#[test]
fn what_takes_the_name_meanwhile_is_not_overwritten() {
    let folder = folder();
    let path = folder.path().join("x");
    let file = AtomicFile::create(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    let user_error = file.finish(b"{}").unwrap_err();
    assert!(user_error.hint.contains("meanwhile"), "{user_error:?}");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn nothing_is_left_when_it_is_given_up() {
    let folder = folder();
    drop(AtomicFile::create(&folder.path().join("x")).unwrap());
    growing(&folder.path().join("y")).unwrap().abandon();
    assert_eq!(entries(folder.path()), 0);
    // A device is not ours to remove.
    growing(Path::new("/dev/null")).unwrap().abandon();
    assert!(Path::new("/dev/null").exists());
    // Nor is what took the name.
    let file = growing(&folder.path().join("z")).unwrap();
    fs::write(folder.path().join("new"), "").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("z")).unwrap();
    file.abandon();
    assert!(folder.path().join("z").exists());
}

#[test]
fn links_folders_and_names_without_a_folder_are_refused() {
    let folder = folder();
    let link = folder.path().join("link");
    symlink(folder.path().join("target"), &link).unwrap();
    let none = folder.path().join("none/x");
    let slash = folder.path().join("x/");
    for path in [&link, folder.path(), &none, &slash, Path::new("/"), Path::new(".."), Path::new("")] {
        let user_error = AtomicFile::create(path).unwrap_err();
        assert!(!user_error.hint.is_empty(), "{user_error:?}");
        assert!(growing(path).is_err(), "{}", path.display());
    }
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn a_name_may_be_of_any_bytes() {
    let folder = folder();
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9.json"));
    AtomicFile::create(&path).unwrap().finish(b"{}").unwrap();
    assert!(path.exists());
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_at_once_and_one_that_is_read_is_written() {
    let folder = folder();
    let path = folder.path().join("pipe");
    mkfifo(&path, private()).unwrap();
    assert!(AtomicFile::create(&path).unwrap_err().what.contains("nobody reads the pipe"));
    assert!(growing(&path).is_err());
    let mut reader = File::options().read(true).write(true).open(&path).unwrap();
    AtomicFile::create(&path).unwrap().finish(b"{}").unwrap();
    let mut bytes = [0; 2];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"{}");
}

#[test]
fn a_reader_that_stops_reading_does_not_hold_us_and_one_that_goes_is_no_failure() {
    let (reader, writer) = pipe().unwrap();
    let mut stream = Stream::impatient(writer.into(), Duration::from_millis(50));
    let error = stream.write_all(&vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(reader);
    let gone = AtomicFile { path: "-".into(), to: To::Stream(stream) };
    gone.finish(b"{}").unwrap();
}

#[test]
fn a_descriptor_counts_when_the_caller_left_it_open() {
    let (mut reader, writer) = {
        let (reader, writer) = pipe().unwrap();
        (File::from(reader), writer)
    };
    let path = |fd: &OwnedFd| PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd)));
    // Ours, as every file that we open.
    fcntl(writer.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    assert!(AtomicFile::create(&path(&writer)).unwrap_err().what.ends_with("is not open here"));
    fcntl(writer.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    AtomicFile::create(&path(&writer)).unwrap().finish(b"{}").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "{}");
    let only_read = File::open("/dev/null").unwrap().into();
    fcntl(&only_read, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    assert!(AtomicFile::create(&path(&only_read)).unwrap_err().what.ends_with("for reading only"));
    assert!(AtomicFile::create(Path::new("/dev/fd/999999")).is_err());
}

#[test]
fn two_outputs_in_one_file_are_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("a")).unwrap();
    let (plain, around) = (folder.path().join("x"), folder.path().join("a/../x"));
    assert!(distinct(&[Some(&plain), None, Some(&around)]).is_err());
    assert!(distinct(&[Some(Path::new("-")), Some(Path::new("/dev/stdout"))]).is_err());
    assert!(distinct(&[Some(Path::new("/dev/null")), Some(Path::new("/dev/null"))]).is_ok());
    assert!(distinct(&[Some(&plain), Some(&folder.path().join("y")), None]).is_ok());
}
