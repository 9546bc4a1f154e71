//! Which kernel modules a node needs, and in which order they are loaded.

use std::collections::BTreeMap;

/// What `modules.dep` says: the file of each module and the files it needs.
#[derive(Debug, Default)]
pub struct Dependencies {
    by_name: BTreeMap<String, (String, Vec<String>)>,
}

impl Dependencies {
    /// Reads the text of `modules.dep`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let by_name = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(file, needs)| {
                (name(file), (file.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
            })
            .collect();
        Self { by_name }
    }

    /// The files of these modules and of all that they need, each once, the needed first. Modules that this kernel does
    /// not have (or has built in) are left out.
    #[must_use]
    pub fn closure<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        for module in modules {
            if let Some((file, needs)) = self.by_name.get(&name(module)) {
                // depmod lists the nearest first, and each with all that it needs itself.
                for file in needs.iter().rev().chain([file]) {
                    if !files.contains(file) {
                        files.push(file.clone());
                    }
                }
            }
        }
        files
    }
}

/// The name by which a module is known: `kernel/net/802/stp.ko` is `stp`, and `-` is `_`.
fn name(file: &str) -> String {
    let last = file.rsplit('/').next().unwrap_or(file);
    last.split(".ko").next().unwrap_or(last).replace('-', "_")
}

/// The list of modules in `text`: all of them, and those of the first line, which the initramfs loads.
#[must_use]
pub fn wanted(text: &str) -> (Vec<&str>, Vec<&str>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let early: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let all = early.iter().copied().chain(lines.flat_map(str::split_whitespace)).collect();
    (all, early)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko kernel/lib/libcrc32c.ko\n\
                       kernel/lib/crc16.ko:\nkernel/fs/jbd2/jbd2.ko:\nkernel/lib/libcrc32c.ko:\n\
                       kernel/drivers/md/dm-mod.ko:\nkernel/drivers/block/drbd/drbd.ko: kernel/lib/libcrc32c.ko\n";

    #[test]
    fn what_a_module_needs_comes_before_it_and_only_once() {
        let files = Dependencies::parse(DEP).closure(["ext4", "drbd"]);
        let place = |name: &str| files.iter().position(|file| file.ends_with(name)).unwrap();
        assert_eq!(files.len(), 5);
        assert!(place("libcrc32c.ko") < place("ext4.ko") && place("jbd2.ko") < place("ext4.ko"));
        assert!(place("libcrc32c.ko") < place("drbd.ko"));
    }

    #[test]
    fn dash_and_underscore_are_one_and_unknown_modules_are_left_out() {
        let dependencies = Dependencies::parse(DEP);
        assert_eq!(dependencies.closure(["dm_mod", "builtin"]), ["kernel/drivers/md/dm-mod.ko"]);
        assert_eq!(dependencies.closure(["dm-mod"]), ["kernel/drivers/md/dm-mod.ko"]);
    }

    #[test]
    fn the_first_line_of_the_list_is_what_the_initramfs_loads() {
        assert_eq!(wanted("# why\na b\nc\n# and\nd\n"), (vec!["a", "b", "c", "d"], vec!["a", "b"]));
    }
}
