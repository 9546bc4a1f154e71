//! What the exit codes of vzctl and vzmigrate mean, and which code and sentence the cluster gets for them.

use ocf::{Error, Output};

/// vzctl: another vzctl works on the container.
pub const LOCKED: i32 = 9;
/// vzctl: the container has no configuration here.
pub const NO_CONFIG: i32 = 14;
/// vzctl: the container was to be started, and runs.
pub const RUNNING: i32 = 32;
/// vzctl: it was to be unmounted, and is not mounted.
pub const NOT_MOUNTED: i32 = 40;

/// What an exit code of vzctl means, and what to do. Of 3.x, 4.x, and Virtuozzo's.
pub fn meaning(code: i32) -> &'static str {
    match code {
        1 => "its user beancounters could not be set: check the limits in its configuration",
        2 => "its CPU share could not be set: check CPUUNITS and CPULIMIT",
        3 => "a system call failed, or the lock directory cannot be used: see the log of vzctl",
        5 => "this is no OpenVZ kernel, or its modules are not loaded: start the service vz",
        6 => "the kernel gave it no resources: look for shortage of memory or processes",
        7 => "the kernel could not create it: see dmesg",
        8 => "a command in it failed",
        9 => "another vzctl works on it: wait for it to end",
        10 => "/etc/vz/vz.conf is missing: install it as on the other node",
        11 => "a script of vzctl is missing: reinstall vzctl",
        12 => "permission denied: vzctl needs root",
        13 => "its capabilities could not be set: check CAPABILITY",
        14 => "it has no configuration here: copy it from the other node",
        15 => "a command in it took too long",
        16 => "it could not be suspended: see dmesg",
        17 => "it could not be resumed from its memory dump: see dmesg",
        18 => "its user id could not be set: see dmesg",
        20 => "vzctl does not know an option: is it too old?",
        21 => "vzctl refuses a value: check the id and the configuration",
        22 => "VE_ROOT is not set: set it in its configuration",
        23 => "VE_PRIVATE is not set: set it in its configuration",
        24 => "TEMPLATE is not set: set it in vz.conf",
        27..=29 => "settings are missing in its configuration",
        31 => "it does not run",
        32 => "vzctl says that it runs already",
        33 => "its processes could not be stopped: see dmesg",
        34 => "its IP address could not be set up: check IP_ADDRESS",
        35 | 36 => "its limits exceed what this node can give: check them",
        40 => "it is not mounted",
        41 => "it is mounted already",
        43 => "its private area is not here: mount its file system first",
        44 => "its private area exists already",
        46 => "no space is left on a disk: free some",
        47 => "its template is damaged: check OSTEMPLATE",
        48 => "its private area cannot be created",
        49 => "its root directory cannot be created: check VE_ROOT",
        50 => "its private area cannot be mounted: see dmesg",
        51 => "it cannot be unmounted: look who uses it",
        52 => "its private area cannot be removed",
        53 => "its layout is not supported by this kernel: check VE_LAYOUT",
        54 => "a directory cannot be created",
        55 => "its disk quota is too small for its files: raise DISKSPACE and DISKINODES",
        60 => "disk quota cannot be switched on: run vzquota, or set DISK_QUOTA=no",
        61 => "disk quota cannot be initialised: run vzquota, or set DISK_QUOTA=no",
        62 => "disk quota cannot be set: check DISKSPACE and DISKINODES",
        63 => "DISKSPACE is not set: set it in its configuration",
        64 => "DISKINODES is not set: set it in its configuration",
        65 | 67 => "disk quota for users cannot be set: check QUOTAUGIDLIMIT",
        66 => "disk quota cannot be switched off: look who uses its files",
        68 => "disk quota cannot be read: run vzquota",
        77 => "LOCKDIR is not set: set it in vz.conf",
        78 => "its IP address is in use: look for the other machine that has it",
        79 => "an action script failed: look at the scripts beside its configuration",
        82 => "its configuration cannot be copied",
        85 => "its configuration is not valid: run vzcfgvalidate",
        86 => "its devices cannot be set up: check DEVICES and DEVNODES",
        89 => "its IP address cannot be used on this node: check IP_ADDRESS",
        91 => "its template is not here",
        99 => "this vzctl or kernel has no ploop: install it",
        100 => "its IP addresses cannot be read",
        104 => "a network device cannot be moved into it: check NETDEV",
        105 => "it must not be started: DISABLED=yes in its configuration",
        106 => "its iptables modules cannot be loaded: check IPTABLES",
        107 => "its distribution has no configuration: check OSTEMPLATE and DISTRIBUTION",
        108 => "its distribution's scripts are missing: reinstall vzctl",
        109 => "its configuration cannot be applied",
        128 => "its reinstallation failed",
        129 => "its view of the memory cannot be set: check MEMINFO",
        130 => "its virtual Ethernet device cannot be set up: check NETIF and its bridge",
        131 => "its name cannot be set: look at /etc/vz/names",
        133 => "it was started, but did not finish booting",
        139 => "its configuration cannot be saved: look at the disk of /etc",
        141 => "it is registered on another node: unregister it there first",
        144 => "its kernel version text cannot be set: check osrelease.conf",
        148 => "its disk limits cannot be set: check IOLIMIT and IOPSLIMIT",
        150..=167 => "its disk image (ploop) cannot be used: run ploop check",
        200..=214 => "an internal failure of Virtuozzo: see its logs",
        _ => "vzctl gave an exit code that is not known",
    }
}

/// What an exit code of vzmigrate means.
pub fn migration_meaning(code: i32) -> &'static str {
    match code {
        1 => "vzmigrate does not know an option: is it too old?",
        2 => "the container does not run",
        4 => "the other node cannot be reached by ssh without a password",
        6 => "its files could not be copied",
        7 => "it could not be started or resumed on the other node",
        8 => "it could not be stopped or suspended here",
        9 => "the other node has a container of this id already",
        10 => "the container is not here",
        12 => "its IP address is in use",
        13 => "its disk quota could not be taken along",
        14 => "the service vz does not run on the other node",
        15 => "its configuration could not be taken along",
        16 => "its disk image (ploop) cannot be used on the other node",
        17 => "the other node cannot take in a running container: its kernel lacks a feature",
        18 => "the other node's processor lacks a feature that it uses",
        19 => "the configuration of the other node does not allow it",
        20 => "another vzctl works on it",
        _ => "vzmigrate gave an exit code that is not known",
    }
}

/// A failed tool, as a failure of the action: the cluster's code and one sentence.
pub fn failure(tool: &str, action: &str, id: &str, output: &Output) -> Error {
    let Some(code) = output.code.filter(|_| tool == "vzctl") else {
        return Error::generic(format_args!("{tool} {action} {id}: {}", output.complaint()));
    };
    let sentence = format!("vzctl {action} {id}: {} (code {code})", meaning(code));
    match code {
        // Not on this node, but perhaps on another.
        5 | 10 | 14 | 22..=24 | 43 => Error::installed(sentence),
        // Not on any node.
        105 => Error::configured(sentence),
        _ => Error::generic(sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf::ExitCode;

    fn answer(code: i32) -> Error {
        let output =
            Output { code: Some(code), signal: None, stdout: Vec::new(), stderr: b"words\n".to_vec() };
        failure("vzctl", "start", "101", &output)
    }

    /// The rows of the table of exit codes of vzctl 3, 4 and Virtuozzo.
    const ROWS: &[i32] = &[
        1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 27, 28, 29, 31, 32, 33,
        40, 41, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 60, 61, 62, 63, 64, 65, 66, 67, 68, 78, 79,
        85, 89, 99, 100, 104, 105, 106, 107, 108, 109, 129, 130, 131, 133, 139, 141, 144, 148, 150, 167, 200,
        214,
    ];

    #[test]
    fn every_exit_code_has_a_sentence_of_its_own_that_the_cluster_can_show_whole() {
        for &code in ROWS {
            let error = answer(code);
            assert!(!error.reason().contains("not known"), "{code}");
            assert!(
                error.reason().contains("101") && error.reason().contains(&format!("code {code}")),
                "{error}"
            );
            assert!(error.reason().len() <= ocf::error::REASON_MAX, "{}: {error}", error.reason().len());
        }
        assert!(answer(99_999).reason().contains("not known"));
    }

    #[test]
    fn what_is_missing_here_is_5_what_is_forbidden_everywhere_is_6_and_the_rest_is_1() {
        for &code in ROWS {
            let expected = match code {
                5 | 10 | 14 | 22 | 23 | 24 | 43 => ExitCode::Installed,
                105 => ExitCode::Configured,
                _ => ExitCode::Generic,
            };
            assert_eq!(answer(code).code(), expected, "{code}");
        }
    }

    #[test]
    fn every_exit_code_of_vzmigrate_has_a_sentence() {
        for code in [1, 2, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20] {
            assert!(!migration_meaning(code).contains("not known"), "{code}");
        }
        assert!(migration_meaning(3).contains("not known"));
    }

    #[test]
    fn a_tool_that_was_killed_or_is_not_vzctl_speaks_for_itself() {
        let killed = Output { code: None, signal: Some(11), stdout: Vec::new(), stderr: Vec::new() };
        assert!(failure("vzctl", "stop", "101", &killed).reason().contains("signal 11"));
        let other =
            Output { code: Some(14), signal: None, stdout: Vec::new(), stderr: b"no such CT\n".to_vec() };
        let error = failure("prlctl", "start", "db", &other);
        assert_eq!(
            (error.code(), error.reason()),
            (ExitCode::Generic, "prlctl start db: exit code 14: no such CT")
        );
    }
}
