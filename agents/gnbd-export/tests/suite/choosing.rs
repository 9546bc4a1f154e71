//! `backend=auto`, OPTIONS, the dialects, and what the device must be.

use std::os::unix::fs::{MetadataExt, symlink};

use testkit::Call;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::configfs::DeviceIs;
use crate::gnbd_suite::{heartbeat, machine};
use crate::scenes::{BINARY, HOST, INITIATOR, Scene, UUID, node, nqn, proc_drbd, scene};

fn by_hand(here: &Scene) -> Call {
    here.sandbox.host(Call::bare(BINARY))
}

/// Which backend `status` by hand says it would be, or is.
#[track_caller]
fn status(here: &Scene, more: &[&str], code: i32) -> String {
    let words = ["--name", "r0", "--device", "/dev/drbd0"];
    by_hand(here).run_args(words.iter().chain(more).chain(&["status"])).exits(code).stdout
}

#[test]
fn auto_is_gnbd_then_nvmet_then_lio_and_never_nbd() {
    let Some(here) = machine() else { return };
    for tool in ["qemu-nbd", "nbd-server"] {
        here.sandbox.tool(tool, testkit::Tool::Succeeds);
    }
    assert_eq!(status(&here, &[], 3), "stopped (gnbd)\n");
    // gnbd could not refuse the others.
    assert_eq!(status(&here, &["--allow", HOST], 3), "stopped (nvmet)\n");
    assert_eq!(status(&here, &["--allow", INITIATOR], 3), "stopped (lio)\n");
    assert_eq!(status(&here, &["--allow", HOST, "--readonly", "yes"], 3), "stopped (no backend)\n");
    std::fs::remove_file(here.sandbox.path("usr/sbin/gnbd_serv")).unwrap();
    assert_eq!(status(&here, &[], 3), "stopped (nvmet)\n");
    assert_eq!(status(&here, &["--readonly", "yes"], 3), "stopped (lio)\n");
    here.bare("auto").run("start").answers(SUCCESS);
    assert_eq!(status(&here, &[], 0), "running (nvmet)\n");
    here.bare("auto").run("stop").answers(SUCCESS);
}

#[test]
fn auto_takes_what_the_kernel_could_load_and_says_what_is_missing() {
    let Some(here) = scene() else { return };
    let Scene { configfs, sandbox, disk: _disk, machine: _machine } = here;
    drop(configfs);
    std::fs::remove_dir_all(sandbox.path("sys/module")).unwrap();
    sandbox.folder("sys/module").file("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
    let auto = sandbox.host(Call::ocf(BINARY).param("name", "r0").param("device", "/dev/drbd0"));
    auto.run("start").answers(INSTALLED).names("no backend works here");
    auto.probe().answers(NOT_RUNNING);
    let by_hand = sandbox.host(Call::bare(BINARY));
    let words = ["--name", "r0", "--device", "/dev/drbd0", "status"];
    let list = "lib/modules/6.1.0-56-amd64/modules.dep";
    let core = "kernel/drivers/target/target_core_mod.ko:\nkernel/drivers/target/target_core_iblock.ko: x\n";
    sandbox.file(list, core);
    assert_eq!(by_hand.run_args(words).exits(3).stdout, "stopped (no backend)\n");
    sandbox.file(list, core.to_owned() + "kernel/drivers/target/iscsi/iscsi_target_mod.ko.xz: x\n");
    assert_eq!(by_hand.run_args(words).exits(3).stdout, "stopped (lio)\n");
    sandbox.file(list, "kernel/drivers/nvme/target/nvmet-tcp.ko: kernel/drivers/nvme/target/nvmet.ko\n");
    assert_eq!(by_hand.run_args(words).exits(3).stdout, "stopped (nvmet)\n");
}

#[test]
fn modules_are_loaded_by_start_and_every_fault_of_modprobe_is_told() {
    for (how, behaviour) in testkit::Tool::misbehaviours(1) {
        let Some(here) = scene() else { return };
        std::fs::remove_dir_all(here.sandbox.path("sys/module")).unwrap();
        let Scene { configfs, sandbox, disk: _disk, machine: _machine } = here;
        drop(configfs);
        sandbox.folder("sys/module").file("proc/sys/kernel/osrelease", "6.1.0\n");
        sandbox.file("lib/modules/6.1.0/modules.dep", "kernel/nvmet-tcp.ko:\n");
        if let Some(behaviour) = behaviour {
            sandbox.tool("modprobe", behaviour);
        }
        let r0 = sandbox.host(Call::ocf(BINARY).param("name", "r0").param("device", "/dev/drbd0"));
        let answer = r0.param("backend", "nvmet").timeout_ms(3000).run("start").within_ms(3000);
        let code = if how.starts_with("hanging") { GENERIC } else { INSTALLED };
        answer.answers(code);
        if how != "missing" {
            assert_eq!(sandbox.calls("modprobe"), [["--", "nvmet-tcp"]], "{how}");
        }
    }
}

/// What is chosen may have changed since the export was started: it is still found and stopped.
#[test]
fn auto_finds_and_stops_the_export_wherever_it_is() {
    for backend in ["gnbd", "nvmet", "lio"] {
        let Some(here) = machine() else { return };
        here.bare(backend).run("start").answers(SUCCESS);
        let auto = here.bare("auto").param("drain_timeout", "0");
        auto.monitor().answers(SUCCESS);
        auto.run("start").answers(SUCCESS);
        assert_eq!(status(&here, &[], 0), format!("running ({backend})\n"));
        auto.run("stop").answers(SUCCESS);
        here.bare(backend).monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn an_export_that_is_there_twice_is_an_error_and_stop_ends_both() {
    let Some(here) = machine() else { return };
    here.bare("gnbd").run("start").answers(SUCCESS);
    here.bare("nvmet").run("start").answers(SUCCESS);
    here.bare("auto").monitor().answers(GENERIC).names("gnbd, nvmet");
    here.bare("auto").run("start").answers(GENERIC);
    here.bare("auto").run("stop").answers(SUCCESS);
    here.bare("auto").monitor().answers(NOT_RUNNING);
    assert!(here.configfs.tree().held().is_empty());
}

/// One backend that cannot be asked is not an absence, even when the others have nothing.
#[test]
fn auto_is_unknown_when_one_backend_cannot_be_asked() {
    let Some(here) = machine() else { return };
    here.bare("gnbd").run("start").answers(SUCCESS);
    here.sandbox.tool("gnbd_export", testkit::Tool::Fails(1, "no answer"));
    here.bare("auto").monitor().answers(GENERIC).names("no answer");
    here.bare("auto").run("stop").answers(GENERIC).names("no answer");
    here.bare("auto").run("start").answers(GENERIC).names("no answer");
}

#[test]
fn options_of_haresources_reach_the_backend() {
    let Some(here) = scene() else { return };
    let agent = heartbeat(&here.sandbox);
    let options = format!("backend=nvmet,allow={HOST},allow=nqn.second,port=4421");
    let words = |action: &'static str| ["r0", "/dev/drbd0", options.as_str(), action].map(str::to_owned);
    agent.run_args(words("start")).exits(0);
    {
        let tree = here.configfs.tree();
        let hosts = tree.links_in(&format!("nvmet/subsystems/{}/allowed_hosts", nqn()));
        assert_eq!(hosts.len(), 2);
        assert_eq!(tree.text("nvmet/ports/20000/addr_trsvcid"), "4421");
    }
    assert_eq!(agent.run_args(words("status")).exits(0).stdout, "running (nvmet)\n");
    agent.run_args(words("stop")).exits(0);
    assert_eq!(agent.run_args(words("status")).exits(3).stdout, "stopped (nvmet)\n");
    assert!(here.configfs.tree().left().is_empty());
}

#[test]
fn options_that_are_not_understood_fail_a_start_and_not_a_stop() {
    let Some(here) = scene() else { return };
    here.r0("nvmet").run("start").answers(SUCCESS);
    for options in ["colour=red", "port", "port=http", "backend=fast", "name=r1", "allow=../..", "listen=-x"]
    {
        let bad = here.r0("nvmet").param("options", options);
        bad.run("validate-all").answers(CONFIGURED);
        bad.run("start").answers(CONFIGURED);
    }
    assert_eq!(here.r0("nvmet").param("options", "colour=red").monitor().code, Some(SUCCESS));
    here.r0("nvmet").param("options", "colour=red").run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().held().is_empty());
}

#[test]
fn hostile_values_are_refused_before_anything_is_touched() {
    let Some(here) = scene() else { return };
    for (name, value) in [
        ("name", "-e"),
        ("name", "../../x"),
        ("name", "a\nb"),
        ("device", "/etc/passwd"),
        ("device", "/dev/../etc/passwd"),
        ("device", "/dev/drbd0,readonly=1"),
        ("allow", "nqn.a/../../b"),
        ("listen", "0.0.0.0; reboot"),
        ("port", "0"),
        ("port", "70000"),
        ("backend", "nbd -v"),
        ("uuid", "7f1c2a52"),
        ("target", "nqn.x/../y"),
        ("drain_timeout", "-1"),
    ] {
        for action in ["validate-all", "start"] {
            here.r0("nvmet").param(name, value).run(action).answers(CONFIGURED).names(name);
        }
    }
    here.sandbox
        .host(Call::ocf(BINARY).param("device", "/dev/drbd0"))
        .run("start")
        .answers(CONFIGURED)
        .names("name");
    here.sandbox.host(Call::ocf(BINARY).param("name", "r0")).run("start").answers(CONFIGURED).names("device");
    assert!(here.configfs.tree().deeds.is_empty());
}

#[test]
fn a_device_must_exist_and_be_a_block_device_that_nobody_uses() {
    let Some(here) = machine() else { return };
    here.sandbox.file("dev/plain", "");
    for backend in ["gnbd", "nvmet", "lio"] {
        let with = |device: &str| here.bare(backend).param("device", device).run("start");
        with("/dev/nothing").answers(INSTALLED).names("/dev/nothing does not exist");
        with("/dev/plain").answers(GENERIC).names("not a block device");
    }
    // Claimed by another, as a mount or DRBD above it would.
    let claimed = std::fs::File::options();
    let mut claimed = claimed;
    let claimed = std::os::unix::fs::OpenOptionsExt::custom_flags(claimed.read(true), nix::libc::O_EXCL);
    let claimed = claimed.open(here.disk.device()).unwrap();
    for backend in ["gnbd", "nvmet", "lio"] {
        here.bare(backend).run("start").answers(GENERIC).names("in use");
    }
    drop(claimed);
    assert!(here.configfs.tree().deeds.is_empty() && here.sandbox.calls("gnbd_export").is_empty());
}

/// Write-protected by the kernel, as a Secondary of DRBD is.
#[test]
fn a_device_that_cannot_be_written_is_told() {
    let Some(here) = machine() else { return };
    let image = here.disk.image().to_owned();
    let protected = testkit::disk::Disk::read_only_of_image(&image);
    node(&here.sandbox, "dev/protected", protected.device());
    let number = std::fs::metadata(protected.device()).unwrap().rdev();
    here.sandbox.file(&format!("sys/dev/block/7:{}/ro", nix::sys::stat::minor(number)), "1\n");
    here.configfs.tree().devices.insert("/dev/protected".into(), DeviceIs::Good);
    for backend in ["gnbd", "nvmet", "lio"] {
        let r0 = here.bare(backend).param("device", "/dev/protected");
        r0.run("start").answers(GENERIC).names("/dev/protected cannot be written");
    }
}

#[test]
fn a_drbd_device_that_is_not_primary_says_so_by_every_name_that_it_has() {
    let Some(here) = machine() else { return };
    here.sandbox.file("proc/drbd", proc_drbd("Secondary/Primary")).folder("dev/drbd/by-res/cluster");
    symlink("../../../drbd0", here.sandbox.path("dev/drbd/by-res/cluster/0")).unwrap();
    symlink("drbd0", here.sandbox.path("dev/storage")).unwrap();
    for device in ["/dev/drbd0", "/dev/drbd/by-res/cluster/0", "/dev/storage"] {
        let answer = here.bare("nvmet").param("device", device).run("start");
        answer.answers(GENERIC).names("DRBD Secondary").names(device);
    }
}

/// The kernel and everybody who looks for holders get the device's own name.
#[test]
fn a_link_is_followed_at_start_and_recognised_afterwards() {
    let Some(here) = scene() else { return };
    here.sandbox.folder("dev/drbd/by-res/cluster");
    symlink("../../../drbd0", here.sandbox.path("dev/drbd/by-res/cluster/0")).unwrap();
    for backend in ["nvmet", "lio"] {
        let r0 = here.r0(backend).param("device", "/dev/drbd/by-res/cluster/0");
        r0.run("start").answers(SUCCESS);
        assert_eq!(here.configfs.tree().held(), ["/dev/drbd0"]);
        r0.monitor().answers(SUCCESS);
        r0.run("stop").answers(SUCCESS);
    }
}

#[test]
fn a_name_and_uuid_of_one_s_own_are_presented() {
    let Some(here) = scene() else { return };
    let uuid = "7f1c2a52-1111-5222-8333-444455556666";
    let own = here.r0("nvmet").param("uuid", uuid).param("target", "nqn.2026-11.net.example:gnbd:r0");
    own.run("start").answers(SUCCESS);
    own.monitor().answers(SUCCESS);
    let tree = here.configfs.tree();
    let subsystem = "nvmet/subsystems/nqn.2026-11.net.example:gnbd:r0";
    assert_eq!(tree.text(&format!("{subsystem}/namespaces/1/device_uuid")), uuid);
    assert_eq!(tree.text(&format!("{subsystem}/attr_serial")), "7f1c2a52111152228333");
}

#[test]
fn a_person_is_told_the_identity_and_a_cluster_has_no_such_action() {
    let Some(here) = scene() else { return };
    let answer = by_hand(&here).run_args(["--name", "r0", "identity"]).exits(SUCCESS);
    for text in [UUID, &UUID.replace('-', ""), &nqn(), &crate::scenes::iqn()] {
        assert!(answer.stdout.contains(text), "{answer}");
    }
    here.r0("nvmet").run("identity").answers(testkit::call::UNIMPLEMENTED);
}

#[test]
fn an_init_script_is_a_link_with_the_name_and_a_file_with_the_rest() {
    let Some(here) = scene() else { return };
    here.sandbox
        .file("etc/default/gnbd-export-r0", format!("device=/dev/drbd0\nbackend=nvmet\nallow=\"{HOST}\"\n"));
    let script = here.sandbox.host(Call::bare(here.sandbox.installed(BINARY, "etc/init.d/gnbd-export-r0")));
    assert_eq!(script.run("status").exits(3).stdout, "stopped (nvmet)\n");
    script.run("start").exits(0);
    assert_eq!(script.run("status").exits(0).stdout, "running (nvmet)\n");
    assert_eq!(here.configfs.tree().links_in(&format!("nvmet/subsystems/{}/allowed_hosts", nqn())).len(), 1);
    script.run("restart").exits(0);
    script.run("stop").exits(0);
    assert!(here.configfs.tree().left().is_empty());
}

/// Unknown reads as running to both of Heartbeat's readers.
#[test]
fn a_state_that_cannot_be_told_is_running_unverified() {
    let Some(here) = machine() else { return };
    let agent = heartbeat(&here.sandbox);
    agent.run_args(["r0", "/dev/drbd0", "start"]).exits(0);
    here.sandbox.tool("gnbd_export", testkit::Tool::Babbles);
    let answer = agent.run_args(["r0", "/dev/drbd0", "status"]).exits(4);
    assert_eq!(answer.stdout, "running (unverified)\n");
}

#[test]
fn validate_at_level_10_looks_at_the_node() {
    let Some(here) = scene() else { return };
    here.bare("gnbd").run("validate-all").answers(SUCCESS);
    here.bare("gnbd").level(10).run("validate-all").answers(INSTALLED).names("gnbd_serv");
    here.r0("nvmet").level(10).run("validate-all").answers(SUCCESS);
}

#[test]
fn validate_refuses_what_start_refuses_on_every_node() {
    let Some(here) = machine() else { return };
    for call in [here.r0("nvmet").param("readonly", "yes"), here.bare("gnbd").param("listen", "10.0.0.1")] {
        call.run("validate-all").answers(CONFIGURED);
        call.run("start").answers(CONFIGURED);
    }
}

/// What the kernel reads as the end of an option would become one.
#[test]
fn a_link_to_a_device_with_a_hostile_name_is_refused() {
    let Some(here) = scene() else { return };
    node(&here.sandbox, "dev/a,readonly=1", here.disk.device());
    symlink("a,readonly=1", here.sandbox.path("dev/link")).unwrap();
    for backend in ["nvmet", "lio"] {
        here.r0(backend).param("device", "/dev/link").run("start").answers(GENERIC).names("leads to");
    }
    assert!(here.configfs.tree().held().is_empty());
}

#[test]
fn a_start_clears_nothing_and_offers_nothing_while_one_backend_cannot_be_asked() {
    let Some(here) = machine() else { return };
    here.r0("nvmet").param("allow", "any").run("start").answers(SUCCESS);
    let link = here.sandbox.path(format!("sys/kernel/config/nvmet/ports/20000/subsystems/{}", nqn()));
    std::fs::remove_file(link).unwrap();
    here.sandbox.tool("gnbd_export", testkit::Tool::Babbles).file("proc/4190001/comm", "gnbd_serv\n");
    here.bare("auto").param("allow", "any").run("start").answers(GENERIC).names("gnbd_export");
    assert_eq!(here.configfs.tree().held(), ["/dev/drbd0"], "nothing was cleared");
}

#[test]
fn without_sys_the_kernel_s_exports_are_unknown_and_not_absent() {
    let Some(here) = scene() else { return };
    let Scene { configfs, sandbox, disk: _disk, machine: _machine } = here;
    drop(configfs);
    std::fs::remove_dir_all(sandbox.path("sys/module")).unwrap();
    for backend in ["nvmet", "lio", "auto"] {
        let r0 = sandbox.host(Call::ocf(BINARY).param("name", "r0").param("device", "/dev/drbd0"));
        let r0 = r0.param("backend", backend);
        r0.probe().answers(GENERIC).names("/sys");
        r0.run("stop").answers(GENERIC).names("/sys");
    }
}
