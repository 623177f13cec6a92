//! Entries are whole or not there: damage, eviction, full disks, killed writers.

use super::*;

fn open(dir: &Path, max_bytes: u64) -> Store {
    Store::open(CacheConfig::in_dir(Some(dir.to_owned()), max_bytes), Arc::default()).unwrap()
}

fn put(store: &Store, key: &str, body: &[u8]) {
    store.put(key, &Note::of(body, Some("text/plain".into())), &Bytes::copy_from_slice(body));
}

fn body(store: &Store, key: &str) -> Option<Vec<u8>> {
    Some(match store.find(key)? {
        Stored::Memory(_, bytes) => bytes.to_vec(),
        Stored::File(note, file) => {
            let mut bytes = vec![0; note.size as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
    })
}

fn large(seed: u8) -> Vec<u8> {
    (0..100_000_u32).map(|n| (n as u8).wrapping_mul(seed)).collect()
}

#[test]
fn what_was_put_is_found_by_another_process_with_its_type() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path(), 1 << 20), "a", b"one");
    put(&open(dir.path(), 1 << 20), "b", &large(3));
    let store = open(dir.path(), 1 << 20);
    assert_eq!(body(&store, "a").unwrap(), b"one");
    assert_eq!(body(&store, "b").unwrap(), large(3));
    assert_eq!(body(&store, "c"), None);
    let Some(Stored::Memory(note, _)) = store.find("a") else { panic!() };
    assert_eq!(note.content_type.as_deref(), Some("text/plain"));
}

#[test]
fn a_damaged_file_is_never_served() {
    for damage in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        put(&open(dir.path(), 1 << 20), "a", &large(7));
        let path = entry::path(&root(dir.path()), "a");
        let store = open(dir.path(), 1 << 20);
        if damage == 5 {
            // Damaged after it was served once.
            assert!(store.find("a").is_some());
        }
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        match damage {
            0 | 5 => file.write_all_at(b"X", 50_000).unwrap(),
            1 => file.set_len(99_000).unwrap(),
            2 => file.set_len(3).unwrap(),
            3 => file.write_all_at(b"X", 100_000).unwrap(),
            _ => {
                let other = entry::path(&root(dir.path()), "b");
                fs::create_dir_all(other.parent().unwrap()).unwrap();
                fs::rename(&path, other).unwrap();
            }
        }
        assert!(store.find("a").is_none(), "{damage}");
        assert!(store.find("b").is_none(), "{damage}: another key's file");
    }
}

#[test]
fn the_least_recently_used_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 350_000);
    for (key, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        put(&store, key, &large(seed));
    }
    assert!(store.find("a").is_some());
    put(&store, "d", &large(4));
    let there: Vec<bool> = ["a", "b", "c", "d"].iter().map(|key| store.find(key).is_some()).collect();
    assert_eq!(there, [true, false, true, true]);
    assert_eq!(store.metrics.cache_evicted_total.get(), 1);
}

#[test]
fn a_writer_that_goes_leaves_nothing_and_a_killed_one_nothing_with_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    let temporary = store.begin().unwrap();
    store.write(&temporary.file, b"half", 0).unwrap();
    // What kill -9 leaves: the file under its temporary name.
    let left = temporary.path.clone();
    std::mem::forget(temporary);
    let again = open(dir.path(), 1 << 20);
    assert!(again.find("a").is_none() && left.exists(), "a living writer's file is left alone");
    let old = SystemTime::now() - TEMPORARY_MAX * 2;
    OpenOptions::new().write(true).open(&left).unwrap().set_modified(old).unwrap();
    drop(open(dir.path(), 1 << 20));
    assert!(!left.exists());
    drop(store.begin().unwrap());
    assert_eq!(fs::read_dir(root(dir.path()).join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_left_alone_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = CacheConfig::in_dir(Some(dir.path().to_owned()), 1 << 20);
    config.write = |_, _, _| Err(io::ErrorKind::StorageFull.into());
    let store = Store::open(config, Arc::default()).unwrap();
    assert!(store.can_write());
    put(&store, "a", b"one");
    assert!(!store.can_write() && store.find("a").is_none());
    assert_eq!(store.metrics.cache_write_errors_total.get(), 1);
    assert_eq!(fs::read_dir(root(dir.path()).join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_was_changed_while_it_was_written_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    let (mut temporary, body) = (store.begin().unwrap(), large(5));
    store.write(&temporary.file, &body, 0).unwrap();
    temporary.file.write_all_at(b"X", 77).unwrap();
    store.keep(&mut temporary, "a", &Note::of(&body, None)).unwrap();
    assert!(store.find("a").is_none());
    assert_eq!(store.metrics.cache_damaged_total.get(), 1);
}
