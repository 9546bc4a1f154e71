//! An initramfs: a cpio archive in the "newc" form, as the kernel documents it.

/// An archive being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, 0o100_000 | mode, content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, 0o120_777, target.as_bytes());
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry_with(path, 0o020_600, &[], (major, minor));
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry_with(path, mode, content, (0, 0));
    }

    fn entry_with(&mut self, path: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        self.count += 1;
        let name = path.trim_start_matches('/');
        // inode, mode, uid, gid, links, time, size, device, special device, length of the name, check sum.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [self.count, mode, 0, 0, 1, 0, size, 0, 0, major, minor, length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_starts_on_a_multiple_of_four_and_the_trailer_is_last() {
        let mut archive = Archive::default();
        archive.directory("/dev");
        archive.file("/init", 0o755, b"12345");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 3);
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        assert!(text.contains("init\0"), "a leading slash would hide the file from the kernel: {text}");
        assert!(text[starts[2]..].contains("TRAILER!!!"));
    }

    #[test]
    fn a_file_carries_its_size_and_mode_in_hexadecimal() {
        let mut archive = Archive::default();
        archive.file("a", 0o755, &[7; 300]);
        let bytes = archive.finish();
        assert_eq!(&bytes[14..22], b"000081ed");
        assert_eq!(&bytes[54..62], b"0000012c");
    }
}
