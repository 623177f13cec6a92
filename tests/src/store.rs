//! The files of a `cache/download` folder, in memory, as a module proxy and checksum database
//! answer them. In goes a request path, out come bytes or nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use hyper::body::Bytes;

use crate::fill;

/// Bytes of one hash in a tile.
const HASH_SIZE: usize = 32;

/// What the proxy can serve.
#[derive(Debug)]
pub struct Store {
    files: HashMap<String, Bytes>,
    /// Stored widths of the partial tiles of each tile.
    partial: HashMap<String, BTreeMap<usize, Bytes>>,
    sumdb: String,
}

impl Store {
    /// The store of the sample module: filled and read once a process.
    pub fn shared() -> Result<Arc<Self>> {
        static STORE: OnceLock<Result<Arc<Store>, String>> = OnceLock::new();
        STORE
            .get_or_init(|| {
                fill::download_cache()
                    .and_then(|dir| Self::open(&dir))
                    .map(Arc::new)
                    .map_err(|error| format!("{error:#}"))
            })
            .clone()
            .map_err(anyhow::Error::msg)
    }

    /// Reads a `cache/download` folder. It must hold the answers of one checksum database.
    pub fn open(download: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        read_folder(download, "", &mut files)?;
        let names: Vec<String> = fs::read_dir(download.join("sumdb"))
            .context("list the checksum databases of the module cache")?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        ensure!(names.len() == 1, "one checksum database was expected in the module cache: {names:?}");
        Ok(Self::new(names.into_iter().next().unwrap_or_default(), files))
    }

    /// A store of these files, by path, with the checksum database of that name.
    pub fn new(sumdb: String, files: HashMap<String, Bytes>) -> Self {
        let mut partial: HashMap<String, BTreeMap<usize, Bytes>> = HashMap::new();
        for (path, bytes) in &files {
            if let Some((tile, width)) = hash_tile(path) {
                partial.entry(tile.to_owned()).or_default().insert(width, bytes.clone());
            }
        }
        Self { files, partial, sumdb }
    }

    /// Name of the checksum database.
    pub fn sumdb(&self) -> &str {
        &self.sumdb
    }

    /// The answer to a GET of `path` (without the leading `/`, percent-decoded); `None` is 404.
    pub fn get(&self, path: &str) -> Option<Bytes> {
        if path.strip_prefix("sumdb/").and_then(|rest| rest.strip_suffix("/supported")) == Some(&self.sumdb) {
            return Some(Bytes::new());
        }
        self.files.get(path).cloned().or_else(|| self.narrowed(path))
    }

    /// A partial tile cut from a wider one. Stored answers carry tree heads of different ages,
    /// so a run may ask for a width that was not stored; the first hashes are the same in all.
    fn narrowed(&self, path: &str) -> Option<Bytes> {
        let (tile, width) = hash_tile(path)?;
        let wider = self.partial.get(tile).and_then(|widths| widths.range(width..).next());
        let bytes = wider.map(|(_, bytes)| bytes).or_else(|| self.files.get(tile))?;
        (bytes.len() >= width * HASH_SIZE).then(|| bytes.slice(..width * HASH_SIZE))
    }

    /// Every path that is stored.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// Splits `….p/W` of a tile of hashes. Tiles of data are not made of hashes of one size.
fn hash_tile(path: &str) -> Option<(&str, usize)> {
    let (tile, width) = path.rsplit_once(".p/")?;
    let width = width.parse().ok().filter(|width| (1..256).contains(width))?;
    (path.contains("/tile/") && !path.contains("/data/")).then_some((tile, width))
}

fn read_folder(dir: &Path, prefix: &str, files: &mut HashMap<String, Bytes>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), files)?;
        } else {
            let bytes = fs::read(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
            files.insert(name, bytes.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let tile = |hashes: u8| -> Bytes { (0..hashes).flat_map(|n| [n; HASH_SIZE]).collect() };
        let files = [
            ("example.test/m/@v/v1.0.0.mod", Bytes::from_static(b"module m\n")),
            ("sumdb/sumdb.test/tile/8/0/001.p/7", tile(7)),
            ("sumdb/sumdb.test/tile/8/0/001.p/9", tile(9)),
            ("sumdb/sumdb.test/tile/8/0/002", tile(200)),
            ("sumdb/sumdb.test/tile/8/data/003.p/9", tile(9)),
        ];
        let files = files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect();
        Store::new("sumdb.test".to_owned(), files)
    }

    #[test]
    fn a_stored_file_is_served_as_it_is() {
        assert_eq!(store().get("example.test/m/@v/v1.0.0.mod").as_deref(), Some(&b"module m\n"[..]));
        assert_eq!(store().get("example.test/m/@v/v2.0.0.mod"), None);
    }

    #[test]
    fn the_database_is_supported_under_its_own_name_only() {
        assert_eq!(store().get("sumdb/sumdb.test/supported"), Some(Bytes::new()));
        assert_eq!(store().get("sumdb/other.test/supported"), None);
    }

    #[test]
    fn a_partial_tile_is_the_beginning_of_the_next_wider_one() {
        let store = store();
        let hashes = |path: &str| store.get(path).map(|bytes| bytes.len() / HASH_SIZE);
        assert_eq!(hashes("sumdb/sumdb.test/tile/8/0/001.p/5"), Some(5));
        assert_eq!(hashes("sumdb/sumdb.test/tile/8/0/001.p/8"), Some(8));
        assert_eq!(hashes("sumdb/sumdb.test/tile/8/0/001.p/9"), Some(9));
        assert_eq!(hashes("sumdb/sumdb.test/tile/8/0/001.p/10"), None);
        let cut = store.get("sumdb/sumdb.test/tile/8/0/001.p/8").unwrap();
        assert_eq!(cut, store.get("sumdb/sumdb.test/tile/8/0/001.p/9").unwrap().slice(..8 * HASH_SIZE));
    }

    #[test]
    fn a_partial_tile_is_cut_from_the_full_one() {
        assert_eq!(store().get("sumdb/sumdb.test/tile/8/0/002.p/3").map(|b| b.len()), Some(3 * HASH_SIZE));
    }

    #[test]
    fn widths_that_no_tile_has_are_not_found() {
        for width in ["0", "256", "-1", "", "99999999999999999999"] {
            assert_eq!(store().get(&format!("sumdb/sumdb.test/tile/8/0/002.p/{width}")), None, "{width}");
        }
    }

    #[test]
    fn a_data_tile_is_never_cut() {
        assert_eq!(store().get("sumdb/sumdb.test/tile/8/data/003.p/5"), None);
    }
}
