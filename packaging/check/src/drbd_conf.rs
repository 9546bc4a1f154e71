//! What drbd.conf says of devices and disks. Keywords of every version pass, known or not.

/// One resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrbdResource {
    pub name: String,
    pub devices: Vec<String>,
    /// The block devices below it.
    pub disks: Vec<String>,
    /// Statements outside volumes and hosts, as keyword and the rest.
    pub options: Vec<(String, String)>,
}

impl DrbdResource {
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The resources of one file. What stands in `common` holds for all of them.
pub fn parse(text: &str) -> Vec<DrbdResource> {
    let mut found: Vec<DrbdResource> = Vec::new();
    let mut common = Vec::new();
    let mut depth = 0_usize;
    let mut section = String::new();
    let mut statement: Vec<String> = Vec::new();
    for token in tokens(text) {
        match token.as_str() {
            "{" => {
                if depth == 0 {
                    section = statement.first().cloned().unwrap_or_default();
                    if section == "resource" {
                        let name = statement.get(1).cloned().unwrap_or_default();
                        found.push(DrbdResource { name, ..DrbdResource::default() });
                    }
                }
                // A volume's number may be the device's: `volume 0 { ... }` opens, and says nothing.
                statement.clear();
                depth += 1;
            }
            "}" => {
                statement.clear();
                depth = depth.saturating_sub(1);
            }
            ";" => {
                let key = statement.first().cloned().unwrap_or_default();
                let rest = statement.get(1..).unwrap_or_default().join(" ");
                match (section.as_str(), found.last_mut()) {
                    ("resource", Some(resource)) if depth > 0 => note(resource, &key, rest),
                    ("common", _) => common.push((key, rest)),
                    _ => {}
                }
                statement.clear();
            }
            _ => statement.push(token),
        }
    }
    for resource in &mut found {
        resource.options.extend(common.iter().cloned());
    }
    found
}

fn note(resource: &mut DrbdResource, key: &str, rest: String) {
    let first = rest.split(' ').next().unwrap_or_default().to_string();
    let list = match key {
        // `device minor 0`, `device /dev/drbd_r0 minor 0`
        "device" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let minor = words.iter().position(|word| *word == "minor").and_then(|at| words.get(at + 1));
            if let Some(minor) = minor {
                push_once(&mut resource.devices, format!("/dev/drbd{minor}"));
            }
            if first == "minor" {
                return;
            }
            &mut resource.devices
        }
        "disk" => &mut resource.disks,
        _ => return resource.options.push((key.into(), rest)),
    };
    push_once(list, first);
}

fn push_once(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut word = String::new();
        let mut quoted = false;
        for character in line.chars() {
            match character {
                '"' => quoted = !quoted,
                '#' if !quoted => break,
                '{' | '}' | ';' if !quoted => {
                    take(&mut word, &mut found);
                    found.push(character.into());
                }
                _ if character.is_whitespace() && !quoted => take(&mut word, &mut found),
                _ => word.push(character),
            }
        }
        take(&mut word, &mut found);
    }
    found
}

fn take(word: &mut String, found: &mut Vec<String>) {
    if !word.is_empty() {
        found.push(std::mem::take(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_disks_are_found_in_every_version_s_form() {
        let old = "resource vm100 { protocol C; startup { degr-wfc-timeout 120; } syncer { group 100; }\n\
                   on a { device /dev/drbd0; disk /dev/mapper/root100; address 192.168.2.1:7788; meta-disk internal; }\n\
                   on b { device /dev/drbd0; disk /dev/mapper/root100; } }\n";
        let found = parse(old);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].devices, ["/dev/drbd0"]);
        assert_eq!(found[0].disks, ["/dev/mapper/root100"]);
        assert_eq!(found[0].option("group"), Some("100"));
        let new = "common { net { after-sb-0pri discard-younger-primary; } }\n# resource no {\n\
                   resource \"r0\" { volume 0 { device minor 3; disk \"/dev/vg/a\"; } volume 1 { device /dev/drbd_b minor 4; disk /dev/vg/b; }\n\
                   net { allow-two-primaries yes; } }";
        let found = parse(new);
        assert_eq!(found[0].name, "r0");
        assert_eq!(found[0].devices, ["/dev/drbd3", "/dev/drbd4", "/dev/drbd_b"]);
        assert_eq!(found[0].disks, ["/dev/vg/a", "/dev/vg/b"]);
        assert_eq!(found[0].option("allow-two-primaries"), Some("yes"));
        assert_eq!(found[0].option("after-sb-0pri"), Some("discard-younger-primary"));
    }
}
