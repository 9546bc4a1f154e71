//! A configfs for a sandbox: a FUSE file system whose server is the test, so that every mkdir, write and link of the agent
//! is a system call that is granted or refused by the kernel's rules, as they were recorded on Linux 6.1.

mod fuse;
mod lio;
mod nvmet;
mod tree;

pub(crate) use tree::{Deed, DeviceIs, Tree};

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// The mounted file system. Dropping it unmounts it.
pub(crate) struct Configfs {
    tree: Arc<Mutex<Tree>>,
    _server: fuse::Server,
}

impl Configfs {
    pub(crate) fn mount(directory: &Path) -> Configfs {
        let tree = Arc::new(Mutex::new(Tree::new(directory)));
        Configfs { _server: fuse::Server::mount(directory, tree.clone()), tree }
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap()
    }
}
