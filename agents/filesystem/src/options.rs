//! Mount options: which of them mount(2) takes as flags, which the file system takes, and which need mount(8).

use nix::mount::MsFlags;

/// Options as mount(2) takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelOptions {
    /// Flags of the mount and the file system.
    pub flags: MsFlags,
    /// What is left for the file system.
    pub data: String,
    /// Propagation types, each a call of its own.
    pub propagation: Vec<MsFlags>,
}

/// The words of a list of options. A comma inside double quotes belongs to its word (SELinux contexts have some).
fn words(options: &str) -> Vec<&str> {
    let mut quoted = false;
    let split = options.split(|character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    split.filter(|word| !word.is_empty()).collect()
}

/// True if the options have this word.
pub fn has_word(options: &str, name: &str) -> bool {
    words(options).contains(&name)
}

/// The value of `name=value`, the last one if there are several.
pub fn value<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    words(options).into_iter().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The options for mount(2). None: one of them means something to mount(8) alone.
pub fn for_kernel(options: &str) -> Option<KernelOptions> {
    let mut parsed = KernelOptions { flags: MsFlags::empty(), data: String::new(), propagation: Vec::new() };
    for word in words(options) {
        let name = word.split('=').next().unwrap_or_default();
        let prefixed = ["x-", "X-", "verity."].iter().any(|prefix| name.starts_with(prefix));
        if prefixed || MOUNT8_ONLY.contains(&name) {
            return None;
        }
        if let Some((_, flag)) = SET.iter().find(|(known, _)| *known == word) {
            parsed.flags |= *flag;
        } else if let Some((_, flag)) = CLEAR.iter().find(|(known, _)| *known == word) {
            parsed.flags &= !*flag;
        } else if let Some((_, flag)) = PROPAGATION.iter().find(|(known, _)| *known == word) {
            parsed.propagation.push(*flag);
        } else if !WITHOUT_EFFECT.contains(&name) {
            if !parsed.data.is_empty() {
                parsed.data.push(',');
            }
            parsed.data.push_str(word);
        }
    }
    Some(parsed)
}

/// Options that mount(8) acts on itself or writes down for others (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS").
const MOUNT8_ONLY: [&str; 18] = [
    "_netdev",
    "user",
    "users",
    "owner",
    "group",
    "loop",
    "offset",
    "sizelimit",
    "encryption",
    "helper",
    "uhelper",
    "context",
    "fscontext",
    "defcontext",
    "rootcontext",
    "remount",
    "move",
    "comment",
];

/// Words that only fstab readers care for.
const WITHOUT_EFFECT: [&str; 8] =
    ["defaults", "auto", "noauto", "nofail", "nouser", "nousers", "noowner", "nogroup"];

/// MS_NOSYMFOLLOW of linux/mount.h (Linux 5.10).
pub const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(0x100);

const SET: [(&str, MsFlags); 21] = [
    ("nosymfollow", NOSYMFOLLOW),
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("mand", MsFlags::MS_MANDLOCK),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("silent", MsFlags::MS_SILENT),
    ("iversion", MsFlags::MS_I_VERSION),
    ("bind", MsFlags::MS_BIND),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    ("norelatime", MsFlags::empty()),
    ("nostrictatime", MsFlags::empty()),
    ("noiversion", MsFlags::empty()),
    ("loud", MsFlags::empty()),
];

const CLEAR: [(&str, MsFlags); 10] = [
    ("symfollow", NOSYMFOLLOW),
    ("rw", MsFlags::MS_RDONLY),
    ("suid", MsFlags::MS_NOSUID),
    ("dev", MsFlags::MS_NODEV),
    ("exec", MsFlags::MS_NOEXEC),
    ("async", MsFlags::MS_SYNCHRONOUS),
    ("nomand", MsFlags::MS_MANDLOCK),
    ("atime", MsFlags::MS_NOATIME),
    ("diratime", MsFlags::MS_NODIRATIME),
    ("nolazytime", MsFlags::MS_LAZYTIME),
];

const PROPAGATION: [(&str, MsFlags); 8] = [
    ("private", MsFlags::MS_PRIVATE),
    ("slave", MsFlags::MS_SLAVE),
    ("shared", MsFlags::MS_SHARED),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_to_the_kernel_and_the_rest_to_the_file_system() {
        let parsed = for_kernel("defaults,noatime,errors=remount-ro,nodev,data=ordered,nofail").unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_NOATIME | MsFlags::MS_NODEV);
        assert_eq!(parsed.data, "errors=remount-ro,data=ordered");
    }

    #[test]
    fn a_restriction_is_never_lost_on_the_way() {
        assert_eq!(for_kernel("nosymfollow,nousers").unwrap().flags, NOSYMFOLLOW);
        assert_eq!(for_kernel("nosymfollow").unwrap().data, "");
    }

    #[test]
    fn the_later_of_two_opposites_wins() {
        assert_eq!(for_kernel("ro,rw").unwrap().flags, MsFlags::empty());
        assert_eq!(for_kernel("rw,ro").unwrap().flags, MsFlags::MS_RDONLY);
    }

    #[test]
    fn what_mount_8_alone_understands_is_left_to_it() {
        for options in [
            "_netdev",
            "x-systemd.automount",
            "loop",
            "loop=/dev/loop3",
            "offset=512",
            "user",
            "X-mount.mkdir",
        ] {
            assert_eq!(for_kernel(options), None, "{options}");
        }
    }

    #[test]
    fn errors_remount_ro_is_not_ro_and_rbind_is_not_bind() {
        assert!(!has_word("errors=remount-ro", "ro"));
        assert!(!has_word("rbind", "bind"));
        assert!(has_word("bind,ro", "ro"));
    }

    #[test]
    fn a_comma_in_quotes_does_not_end_an_option() {
        assert_eq!(words("a=\"b,c\",ro"), ["a=\"b,c\"", "ro"]);
    }

    #[test]
    fn propagation_is_a_call_of_its_own() {
        let parsed = for_kernel("bind,rprivate").unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_BIND);
        assert_eq!(parsed.propagation, [MsFlags::MS_PRIVATE | MsFlags::MS_REC]);
    }
}
