//! Why drbdadm did not promote.

use ocf::Output;
use ocf::drbd::{is_not_defined, is_not_up};

/// The reason, by drbdadm's exit code and the number in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No good copy can be reached.
    NoData,
    /// Another node has it, or is not yet known to be dead.
    PeerIsPrimary,
    /// The resource is not up.
    NotUp,
    /// The configuration does not have it.
    NotDefined,
    /// The module cannot be loaded.
    NoModule,
    /// Something that may pass: no quorum yet, a state change on another node, a tool that did not end.
    Other,
}

/// Reads a failed `drbdadm primary`.
pub fn refusal(output: &Output) -> Refusal {
    let text = String::from_utf8_lossy(&output.stderr);
    match output.code {
        Some(17) => Refusal::NoData,
        Some(11) if text.contains("(-1)") => Refusal::PeerIsPrimary,
        Some(10) if is_not_up(output) => Refusal::NotUp,
        Some(1) if is_not_defined(output) => Refusal::NotDefined,
        Some(20) if text.contains("modprobe") => Refusal::NoModule,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(code: i32, stderr: &str) -> Refusal {
        refusal(&Output { code: Some(code), signal: None, stdout: Vec::new(), stderr: stderr.into() })
    }

    #[test]
    fn the_refusals_of_real_drbd_are_told_apart() {
        let peer = "0: State change failed: (-1) Multiple primaries not allowed by config\n";
        assert_eq!(says(11, peer), Refusal::PeerIsPrimary);
        assert_eq!(says(11, "r3: State change failed: (-25) No quorum\n"), Refusal::Other);
        assert_eq!(
            says(11, "0: State change failed: (-12) Device is held open by someone\n"),
            Refusal::Other
        );
        assert_eq!(says(17, "r0: State change failed: (-2) Need access to UpToDate data\n"), Refusal::NoData);
        assert_eq!(says(10, "0: Failure: (127) Device minor not allocated\n"), Refusal::NotUp);
        assert_eq!(says(10, "r0: Failure: (158) Unknown resource\n"), Refusal::NotUp);
        assert_eq!(says(10, "r0: Failure: (162) Invalid configuration request\n"), Refusal::Other);
        assert_eq!(says(1, "'nosuch' not defined in your config (for this host).\n"), Refusal::NotDefined);
        assert_eq!(
            says(1, "modinfo: ERROR: Module drbd not found.\nno resources defined!\n"),
            Refusal::NotDefined
        );
        assert_eq!(says(1, "primary operates on whole resources\n"), Refusal::Other);
        assert_eq!(says(20, "Failed to modprobe drbd (No such file or directory)\n"), Refusal::NoModule);
        assert_eq!(says(20, "Command did not terminate within 121 seconds\n"), Refusal::Other);
    }

    #[test]
    fn a_tool_that_was_killed_is_no_refusal_of_drbd_s() {
        let killed = Output { code: None, signal: Some(11), stdout: Vec::new(), stderr: Vec::new() };
        assert_eq!(refusal(&killed), Refusal::Other);
    }

    /// What real DRBD 8.4.11 and 9.2.18 answered to `drbdadm primary`, and what it means.
    #[test]
    fn every_recorded_refusal_is_understood() {
        let fixtures =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../common/tests/fixtures/drbd");
        let mut seen = std::collections::BTreeMap::new();
        for version in ["8.4.11-refusals", "9.2.18-refusals"] {
            for entry in std::fs::read_dir(fixtures.join(version)).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                for section in text.split("$ drbdadm primary r").skip(1) {
                    let Some((output, code)) = section.split_once("--- exit=") else { continue };
                    let code: i32 = code.lines().next().unwrap().trim().parse().unwrap();
                    let stderr = output.split_once("--- stderr\n").map_or("", |(_, stderr)| stderr);
                    if code != 0 {
                        let meaning = says(code, stderr);
                        let wanted = match code {
                            17 => Refusal::NoData,
                            11 if stderr.contains("Multiple primaries") => Refusal::PeerIsPrimary,
                            10 => Refusal::NotUp,
                            1 if stderr.contains("not defined in your config") => Refusal::NotDefined,
                            20 => Refusal::NoModule,
                            _ => Refusal::Other,
                        };
                        assert_eq!(meaning, wanted, "{}: {code} {stderr}", path.display());
                    }
                    *seen.entry(code).or_insert(0) += 1;
                }
            }
        }
        let codes: Vec<i32> = seen.keys().copied().collect();
        assert_eq!(codes, [0, 1, 10, 11, 17, 20], "{seen:?}");
    }
}
