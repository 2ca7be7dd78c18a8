//! Large files are looked at aside, so that no process waits for another one's.
//!
//! In: files. Out: the same files, when what they hold is known. Must not know: what becomes
//! of them.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use super::attach::Images;

/// Files that wait to be looked at; beyond, whoever brings one waits himself.
const WAITING: usize = 256;

/// A file on its way.
#[derive(Debug)]
pub struct Open {
    pub file: File,
    /// As its process names it.
    pub path: PathBuf,
}

/// A thread that ends when nobody brings files any more, as soon as it is done with one.
#[derive(Debug)]
pub struct Aside {
    bring: SyncSender<Open>,
    done: Receiver<Open>,
}

impl Aside {
    pub fn start(images: Arc<Images>) -> io::Result<Self> {
        let (bring, brought) = sync_channel::<Open>(WAITING);
        let (give, done) = sync_channel(WAITING);
        thread::Builder::new()
            .name("llmtap-examine".to_owned())
            .spawn(move || {
                for open in brought {
                    // What is wrong with the file is found again by who takes it back.
                    let _ = images.finding(&open.file);
                    if give.send(open).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { bring, done })
    }

    /// Takes a file, or gives it back where too many wait.
    pub fn take(&self, open: Open) -> Result<(), Open> {
        self.bring.try_send(open).map_err(|refused| match refused {
            TrySendError::Full(open) | TrySendError::Disconnected(open) => open,
        })
    }

    /// Files that were looked at.
    pub fn done(&self) -> impl Iterator<Item = Open> {
        self.done.try_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_when_it_is_known() {
        let images = Arc::new(Images::default());
        let aside = Aside::start(Arc::clone(&images)).expect("a thread can be started");
        let path = std::env::current_exe().expect("has a path");
        let open = || File::open(&path).expect("readable");
        assert!(images.takes_a_while(&open()), "a test of megabytes");
        let file = open();
        let brought = aside.take(Open {
            file,
            path: path.clone(),
        });
        assert!(brought.is_ok());
        let back = aside.done.recv().expect("it comes back");
        assert_eq!(back.path, path);
        assert!(!images.takes_a_while(&back.file), "it is known now");
    }
}
