//! The rules that every agent obeys, whatever it manages: `testkit::contract!(binary, name)` makes a test of each.
//!
//! Sources: ocf-tester's checks, and the calling rules that need nothing but meta-data and a bad action.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::call::{ARGS, Call, SUCCESS, UNIMPLEMENTED};

/// Actions that an agent may list and that change nothing by themselves.
const HARMLESS: [&str; 4] = ["meta-data", "validate-all", "monitor", "status"];
const NOBODY: u32 = 65534;

/// Makes one test of each rule, for the binary at `$binary`, known as `$name`.
#[macro_export]
macro_rules! contract {
    ($binary:expr, $name:expr) => {
        $crate::contract!(@tests $binary, $name;
            meta_data_equals_the_committed_file
            meta_data_needs_no_environment
            meta_data_needs_no_root
            meta_data_needs_no_tools
            meta_data_is_the_same_whatever_the_resource
            meta_data_has_no_encoding_declaration
            meta_data_fits_the_dtd_of_ocf_tester
            meta_data_gives_every_action_a_timeout
            meta_data_has_plain_parameter_names
            an_unknown_action_is_unimplemented
            a_listed_action_is_never_unimplemented
            no_action_or_several_are_wrong_arguments
            another_major_version_of_ocf_is_refused
            json_is_one_object_and_changes_no_answer
            the_table_as_json_says_what_the_xml_says
            help_names_every_parameter_and_action);
    };
    (@tests $binary:expr, $name:expr; $($rule:ident)+) => {
        $(
            #[test]
            fn $rule() {
                $crate::contract::$rule($crate::contract::Agent { binary: $binary, name: $name });
            }
        )+
    };
}

/// The binary under test.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    pub binary: &'static str,
    pub name: &'static str,
}

impl Agent {
    fn call(self) -> Call {
        Call::ocf(self.binary)
    }

    fn meta_data(self) -> String {
        let answer = self.call().run("meta-data").exits(SUCCESS);
        assert_eq!(answer.stderr, "", "meta-data is silent beside its XML");
        answer.stdout
    }

    /// The values of an attribute of every element of a kind.
    fn attributes(self, element: &str, attribute: &str) -> Vec<Option<String>> {
        let xml = self.meta_data();
        let elements =
            xml.split('<').filter(|text| text.split([' ', '>', '/', '\n']).next() == Some(element));
        let start = format!("{attribute}=\"");
        let value = |text: &str| Some(text.split_once(&start)?.1.split_once('"')?.0.to_owned());
        elements.map(value).collect()
    }

    fn actions(self) -> Vec<String> {
        self.attributes("action", "name").into_iter().flatten().collect()
    }
}

/// `UPDATE_METADATA=1` rewrites the file instead.
pub fn meta_data_equals_the_committed_file(agent: Agent) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../metadata").join(format!("{}.xml", agent.name));
    let now = agent.meta_data();
    if std::env::var_os("UPDATE_METADATA").is_some_and(|value| value == "1") {
        fs::write(&file, &now).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(now, committed, "review the change, then UPDATE_METADATA=1 rewrites {}", file.display());
}

pub fn meta_data_needs_no_environment(agent: Agent) {
    let only_oneself_named = Call::bare(agent.binary).run("meta-data").exits(SUCCESS);
    assert_eq!(only_oneself_named.stdout, agent.meta_data());
    let by_man_page_build = Call::bare(agent.binary).env("OCF_ROOT", ".").run("meta-data").exits(SUCCESS);
    assert_eq!(by_man_page_build.stdout, agent.meta_data());
}

/// ocf-tester asks as nobody, and Pacemaker's controller as hacluster.
pub fn meta_data_needs_no_root(agent: Agent) {
    if !nix::unistd::geteuid().is_root() {
        return assert!(!agent.meta_data().is_empty(), "we are not root ourselves");
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), mode).unwrap();
    let copy = folder.path().join(agent.name);
    crate::kernel::tool("cp", &[agent.binary.as_ref(), copy.as_os_str()]);
    let answer = agent.call().program(copy).user(NOBODY).run("meta-data").exits(SUCCESS);
    assert_eq!(answer.stdout, agent.meta_data());
}

pub fn meta_data_needs_no_tools(agent: Agent) {
    let answer = agent.call().without("PATH").env("OCF_TESTER_FAIL_HAVE_BINARY", "1").run("meta-data");
    assert_eq!(answer.exits(SUCCESS).stdout, agent.meta_data());
}

/// Pacemaker keeps one copy for all resources of a type, and compares digests across nodes. Only an agent that
/// needs OCF 1.1 elements may look at the minor version.
pub fn meta_data_is_the_same_whatever_the_resource(agent: Agent) {
    let plain = agent.meta_data();
    let calls = [
        agent.call().env("OCF_RESOURCE_INSTANCE", "other:3"),
        agent.call().without("OCF_RESOURCE_INSTANCE"),
        agent.call().param("device", " x ").param("directory", "/nowhere").param("unheard_of", "1"),
        agent.call().meta("interval", "0").meta("timeout", "garbage").env("OCF_OUTPUT_FORMAT", "xml"),
        agent.call().env("OCF_RA_VERSION_MINOR", "0"),
        agent.call().env("LC_ALL", "de_DE.UTF-8").env("LANGUAGE", "de").env("OCF_CHECK_LEVEL", "20"),
        agent.call().from_directory("/proc/self"),
    ];
    for call in calls {
        assert_eq!(call.run("meta-data").exits(SUCCESS).stdout, plain, "{call:?}");
    }
}

/// crmsh cannot read an encoding declaration.
pub fn meta_data_has_no_encoding_declaration(agent: Agent) {
    let xml = agent.meta_data();
    assert!(xml.starts_with("<?xml version=\"1.0\"?>\n"), "{xml}");
    assert!(xml.is_ascii(), "without a declaration every reader must agree on the bytes");
}

/// Validated as ocf-tester does it, when its DTD is here.
pub fn meta_data_fits_the_dtd_of_ocf_tester(agent: Agent) {
    let xml = agent.meta_data();
    assert!(xml.contains("<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">"), "{xml}");
    let folder = PathBuf::from("/usr/share/resource-agents");
    if !folder.join("ra-api-1.dtd").exists() || !Path::new("/usr/bin/xmllint").exists() {
        return eprintln!("half of the test skipped: no xmllint or no ra-api-1.dtd");
    }
    let mut xmllint = Command::new("/usr/bin/xmllint");
    let xmllint = xmllint.args(["--noout", "--valid", "-"]).current_dir(folder);
    let mut child = xmllint.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn meta_data_gives_every_action_a_timeout(agent: Agent) {
    let timeouts = agent.attributes("action", "timeout");
    assert_eq!(timeouts.len(), agent.actions().len());
    for timeout in timeouts {
        let seconds = timeout.as_deref().and_then(|text| text.strip_suffix('s')).map(str::parse::<u32>);
        assert!(matches!(seconds, Some(Ok(1..))), "{timeout:?}");
    }
    for needed in ["start", "stop", "monitor", "validate-all", "meta-data"] {
        assert!(agent.actions().iter().any(|action| action == needed), "{needed} is missing");
    }
}

pub fn meta_data_has_plain_parameter_names(agent: Agent) {
    let names = agent.attributes("parameter", "name");
    assert!(!names.is_empty(), "an agent without parameters cannot be told what to manage");
    for name in names {
        let name = name.expect("a parameter has a name");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
    }
    for attribute in ["required", "unique"] {
        for value in agent.attributes("parameter", attribute) {
            assert!(
                matches!(value.as_deref(), Some("0" | "1")),
                "pcs takes only 0 and 1: {attribute}={value:?}"
            );
        }
    }
}

pub fn an_unknown_action_is_unimplemented(agent: Agent) {
    for action in ["no-such-action", "Start", "", "reload-everything", "promote-me\n", "métadonnées"] {
        agent.call().run(action).answers(UNIMPLEMENTED);
    }
    for action in ["promote", "demote", "notify", "migrate_to", "migrate_from", "reload", "reload-agent"] {
        if !agent.actions().iter().any(|listed| listed == action) {
            agent.call().run(action).answers(UNIMPLEMENTED);
        }
    }
}

/// Without parameters, so nothing is touched; start and stop are only called when the parameters are required.
pub fn a_listed_action_is_never_unimplemented(agent: Agent) {
    let has_required = agent.attributes("parameter", "required").contains(&Some("1".to_owned()));
    for action in agent.actions() {
        if has_required || HARMLESS.contains(&action.as_str()) {
            let answer = agent.call().run(&action);
            assert_ne!(answer.code, Some(UNIMPLEMENTED), "{answer}");
            assert!(matches!(answer.code, Some(0..=9)), "{answer}");
        }
    }
}

pub fn no_action_or_several_are_wrong_arguments(agent: Agent) {
    agent.call().run_args::<_, &str>([]).answers(ARGS);
    agent.call().run_args(["monitor", "monitor"]).answers(ARGS);
    agent.call().run_args(["a", "b", "c", "monitor"]).answers(ARGS);
}

pub fn another_major_version_of_ocf_is_refused(agent: Agent) {
    let answer = agent.call().env("OCF_RA_VERSION_MAJOR", "2").run("validate-all");
    assert!(answer.code.is_some_and(|code| code != SUCCESS && code < 8), "{answer}");
    assert!(answer.reason().is_some_and(|reason| reason.contains("OCF_RA_VERSION_MAJOR")), "{answer}");
}

/// Only that word changes anything: Pacemaker sets the variable too.
pub fn json_is_one_object_and_changes_no_answer(agent: Agent) {
    for action in ["monitor", "validate-all"] {
        let plain = agent.call().run(action);
        for format in ["text", "xml", "log", "none", "JSON"] {
            let other = agent.call().env("OCF_OUTPUT_FORMAT", format).run(action);
            assert_eq!((other.code, &other.stdout), (plain.code, &plain.stdout), "{format}: {other}");
        }
        let json = agent.call().env("OCF_OUTPUT_FORMAT", "json").run(action);
        assert_eq!((json.code, json.reason()), (plain.code, plain.reason()), "{json}");
        assert_eq!(json.stdout.lines().count(), 1, "{json}");
        let object: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(object["agent"], agent.name);
        assert_eq!(object["action"], action);
        assert_eq!(object["exit_code"].as_i64(), json.code.map(i64::from), "{json}");
    }
}

pub fn the_table_as_json_says_what_the_xml_says(agent: Agent) {
    let answer = Call::bare(agent.binary).run_args(["--format", "json", "meta-data"]).exits(SUCCESS);
    let table: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let names = |list: &str| -> Vec<String> {
        let rows = table[list].as_array().unwrap().iter();
        let shown = rows.filter(|row| row["by_hand"] != true);
        shown.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let parameters: Vec<String> = agent.attributes("parameter", "name").into_iter().flatten().collect();
    assert_eq!(names("parameters"), parameters);
    assert_eq!(names("actions"), agent.actions());
    assert_eq!(table["name"], agent.name);
}

pub fn help_names_every_parameter_and_action(agent: Agent) {
    let help = Call::bare(agent.binary).run_args(["--help"]).exits(SUCCESS);
    assert_eq!(help.stderr, "");
    for name in agent.attributes("parameter", "name").into_iter().flatten() {
        let variable = format!("OCF_RESKEY_{name}");
        assert!(help.stdout.split_ascii_whitespace().any(|word| word == variable), "{name}: {help}");
    }
    for action in agent.actions() {
        assert!(help.stdout.contains(&format!("{action}, timeout ")), "{action}: {help}");
    }
    assert!(help.stdout.lines().all(|line| line.len() < 120), "{help}");
}
