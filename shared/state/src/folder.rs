//! Objects as files of a local folder.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ports::{BlobStore, StoreError, check_blob_key};

/// Where files are written before they get their name. Segments of names never start with a dot.
const UNFINISHED: &str = ".unfinished";

/// A [`BlobStore`] in a folder. A file gets its name only when it is complete and on disk, so a killed process leaves
/// at most a nameless file, which the next start removes.
#[derive(Debug)]
pub struct FolderBlobs {
    root: PathBuf,
    next: AtomicU64,
}

impl FolderBlobs {
    /// Objects below `root`, which is created by the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), next: AtomicU64::new(0) }
    }

    /// Removes what a killed process has left unfinished. Only for the one process that writes.
    pub fn clean(&self) -> Result<(), StoreError> {
        match std::fs::remove_dir_all(self.root.join(UNFINISHED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&self.root, error)),
            _ => Ok(()),
        }
    }

    fn write(&self, unfinished: &Path, path: &Path, data: &[u8]) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder)?;
        let mut file = std::fs::File::create(unfinished)?;
        file.write_all(data)?;
        // The commit that refers to the object must never outlive it.
        file.sync_data()?;
        std::fs::rename(unfinished, path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

fn failed(path: &Path, error: std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(text),
        ErrorKind::FileTooLarge => StoreError::Full(text),
        _ => StoreError::NotApplied(text),
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        check_blob_key(key)?;
        let path = self.root.join(key);
        if path.exists() {
            return Ok(());
        }
        let folder = self.root.join(UNFINISHED);
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{}-{number}", std::process::id()));
        self.write(&unfinished, &path, &data).map_err(|e| {
            let _ = std::fs::remove_file(&unfinished);
            failed(&path, e)
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_blob_key(key)?;
        let path = self.root.join(key);
        match std::fs::read(&path) {
            Ok(data) => Ok(Some(data.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_blob_key(prefix)?;
        let (mut folders, mut names) = (vec![prefix.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            let entries = match std::fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed(&path, e))?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let is_folder = entry.file_type().map_err(|e| failed(&path, e))?.is_dir();
                if is_folder { folders.push(name) } else { names.push(name) }
            }
        }
        names.sort();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_blob_key(key)?;
        let path = self.root.join(key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }
}
