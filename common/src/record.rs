//! What an agent writes down for its next action. Below /run, which is empty after a boot, like what the records tell of.

use crate::{Call, Context, Result};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directory of the agent's records, as a path for us.
pub fn directory(call: &Call, agent: &str) -> PathBuf {
    call.host.path(&Path::new("/run/holdfast").join(agent)).into_owned()
}

/// The text of a record that only root can have written: a file of ours, no link, and nobody else may write to it.
pub fn read(path: &Path) -> Option<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    let found = file.metadata().ok()?;
    let trusted =
        found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    let mut text = String::new();
    (trusted && file.read_to_string(&mut text).is_ok()).then_some(text)
}

/// Writes a record, and its directory if that is not there.
pub fn write(path: &Path, text: &[u8]) -> Result<()> {
    let made =
        path.parent().map_or(Ok(()), |folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
    made.and_then(|()| put(path, text)).or_generic(format_args!("{} cannot be written", shown(path)))
}

/// Puts a file there for root alone: whole or not at all, wherever the agent is killed.
pub fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // No agent has that character in the name of a record.
    name.push(format!("~{}", std::process::id()));
    let draft = path.with_file_name(name);
    let _ = std::fs::remove_file(&draft);
    // Made anew, it is no link.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text).and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written
}

/// Forgets it.
pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

fn shown(path: &Path) -> String {
    crate::printable(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holdfast/x/web.1");
        (folder, path)
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_is_root_s_alone() {
        let (_folder, path) = folder();
        assert_eq!(read(&path), None);
        write(&path, b"one\n").unwrap();
        write(&path, b"two\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("two\n"));
        let mode = |path: &Path| metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays");
        remove(&path);
        assert_eq!(read(&path), None);
    }

    #[test]
    fn what_others_could_have_written_is_no_record() {
        let (_folder, path) = folder();
        write(&path, b"text").unwrap();
        for mode in [0o620, 0o602, 0o666] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path), None, "{mode:o}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = path.with_file_name("link");
        symlink(&path, &link).unwrap();
        assert_eq!((read(&link), read(path.parent().unwrap())), (None, None));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert_eq!(read(&path), None, "another's file");
        }
    }

    #[test]
    fn a_link_in_the_way_is_replaced_and_not_followed() {
        let (folder, path) = folder();
        let target = folder.path().join("target");
        std::fs::write(&target, "stays").unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&target, &path).unwrap();
        symlink(&target, path.with_file_name(format!("web.1~{}", std::process::id()))).unwrap();
        write(&path, b"record").unwrap();
        assert_eq!(
            (read(&path).as_deref(), std::fs::read_to_string(&target).unwrap().as_str()),
            (Some("record"), "stays")
        );
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let (_folder, path) = folder();
        std::fs::create_dir_all(&path).unwrap();
        let error = write(&path, b"record").unwrap_err();
        assert!(error.reason().contains("web.1 cannot be written"), "{error}");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
