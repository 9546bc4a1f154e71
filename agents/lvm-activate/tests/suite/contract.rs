//! The rules every agent obeys.

use testkit::Call;

use crate::scenes::{BINARY, vg};

testkit::contract!(env!("CARGO_BIN_EXE_lvm-activate"), "lvm-activate");

#[test]
fn the_replaced_agent_s_name_is_shown_where_it_is_called() {
    let machine = vg(&["lv1"]);
    let own = Call::ocf(BINARY).run("meta-data").exits(0).stdout;
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/holdfast/LVM-activate");
    let shown = Call::ocf(installed).run("meta-data").exits(0).stdout;
    assert_eq!(shown, own.replacen("name=\"lvm-activate\"", "name=\"LVM-activate\"", 1));
}

/// The agent LVM has a table of its own. `UPDATE_METADATA=1` rewrites the file.
#[test]
fn the_agent_lvm_shows_its_own_parameters() {
    let machine = vg(&["lv1"]);
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/holdfast/LVM");
    let shown = Call::ocf(installed).run("meta-data").exits(0).stdout;
    for name in ["volgrpname", "exclusive", "tag", "partial_activation"] {
        assert!(shown.contains(&format!("<parameter name=\"{name}\"")), "{name}");
    }
    assert_eq!(shown.matches("<parameter ").count(), 4);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../metadata/other-names/LVM.xml");
    if std::env::var_os("UPDATE_METADATA").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(&file).unwrap_or_default());
}

/// Its monitors of a stopped resource have an interval: the agent that we replace answers 1 there, and fails.
#[test]
fn ocf_tester_passes() {
    if !std::path::Path::new("/usr/sbin/ocf-tester").exists() {
        return eprintln!("test skipped: ocf-tester is not installed");
    }
    for access in ["plain", "system_id"] {
        let machine = crate::scenes::owned_by("node1");
        let agent = machine.path("resource.d/holdfast/lvm-activate");
        std::fs::create_dir_all(agent.parent().unwrap()).unwrap();
        testkit::kernel::tool("cp", &[BINARY.as_ref(), agent.as_os_str()]);
        let mut tester = std::process::Command::new("/usr/sbin/ocf-tester");
        tester.args(["-n", "vg", "-o", "vgname=vg1", "-o", &format!("vg_access_mode={access}")]).arg(agent);
        let output = tester.env("OCF_TEST_ROOT", machine.root()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("passed all tests") && !said.contains("* rc="),
            "{said}"
        );
    }
}
