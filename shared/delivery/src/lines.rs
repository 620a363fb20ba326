//! Lines of a dry run: to a file exactly once, to standard output at least once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use tidegate_core::{Error, Result};

use crate::payload::LinesPayload;

/// Open files of dry runs, by path.
#[derive(Default)]
pub(crate) struct LineFiles(Mutex<HashMap<String, File>>);

impl LineFiles {
    /// Cuts the file back to what was committed. A shorter file stays as it is: the head's own lines may be missing.
    pub(crate) fn open(&self, path: &str, committed: u64) -> Result<()> {
        let fault = |error| Error::invalid(format!("{path} cannot be opened for writing")).with_source(error);
        let file = open(path).map_err(fault)?;
        if file.metadata().map_err(fault)?.len() > committed {
            file.set_len(committed).map_err(fault)?;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file);
        Ok(())
    }

    /// Writes lines at their place. The same lines twice leave the same file.
    pub(crate) fn write(&self, payload: &LinesPayload) -> Result<()> {
        let Some(path) = &payload.path else {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&payload.lines).and_then(|()| out.flush());
            return written.map_err(|error| Error::unavailable("standard output cannot be written").with_source(error));
        };
        let fault = |error| Error::unavailable(format!("{path} cannot be written")).with_source(error);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.contains_key(path) {
            files.insert(path.clone(), open(path).map_err(fault)?);
        }
        let file = &files[path];
        let length = file.metadata().map_err(fault)?.len();
        if length < payload.offset {
            return Err(Error::invalid(format!(
                "{path} has {length} bytes, but {} were written and committed: somebody cut or replaced it",
                payload.offset
            ))
            .with_help("put the file back, or start again with a new --state folder and a new file"));
        }
        file.write_all_at(&payload.lines, payload.offset).map_err(fault)
    }

    /// Makes what was written survive a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().try_for_each(|(path, file)| {
            file.sync_data().map_err(|error| Error::unavailable(format!("{path} cannot be written")).with_source(error))
        })
    }
}

fn open(path: &str) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}
