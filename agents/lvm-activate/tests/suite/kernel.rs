//! Real LVM on loop devices. Its metadata, system IDs, tags and reports are real; the kernel need not have
//! device-mapper, so what would be mapped is shown in the machine's sys folder, after LVM itself has agreed.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::call::{ARGS, CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::Machine;
use testkit::{Sandbox, Tool};

use crate::scenes::{commands, forget_commands, mapped, mode};

/// Activation is switched off in lvm.conf: LVM then checks who may activate, and maps nothing.
const LVM: &str = r#"
root=$OCF_TEST_ROOT
export LVM_SYSTEM_DIR=$root/etc/lvm LVM_SUPPRESS_FD_WARNINGS=1
real=/usr/sbin/lvm
if [ "$1" = /dev/stdin ]; then
    cat >"$root/script"
    "$real" /dev/stdin <"$root/script"
    code=$?
    set -- $(tail -n 1 "$root/script")
else
    "$real" "$@"
    code=$?
fi
case " $* " in
*" -ay "* | *" -an "*) ;;
*) exit $code ;;
esac
[ $code = 0 ] || exit $code
for last in "$@"; do :; done
n=0
"$real" lvs --foreign --nolocking --noheadings -o vg_uuid,vg_name,lv_uuid,lv_name "${last%%/*}" 2>/dev/null |
while read -r vg group lv name; do
    n=$((n + 1))
    [ "$last" = "$group" ] || [ "$last" = "$group/$name" ] || continue
    block=$root/sys/block/dm-$n
    case " $* " in *" -an "*) rm -rf "$block"; continue ;; esac
    mkdir -p "$block/dm"
    echo "253:$n" >"$block/dev"
    echo "$(echo "$group" | sed 's/-/--/g')-$(echo "$name" | sed 's/-/--/g')" >"$block/dm/name"
    echo "LVM-$(echo "$vg$lv" | tr -d -)" >"$block/dm/uuid"
done
exit 0
"#;

/// A machine with the group vg1 on two disks, owned by node1.
struct Scene {
    machine: Sandbox,
    disks: Vec<Disk>,
    _namespace: Machine,
}

impl Scene {
    fn new(volumes: &[&str]) -> Option<Scene> {
        let namespace = Machine::private()?;
        if !Path::new("/usr/sbin/lvm").exists() {
            eprintln!("kernel test skipped: lvm2 is not installed");
            return None;
        }
        let machine = Sandbox::new();
        machine.tool("lvm", Tool::Does(LVM.into())).folder("sys/block").folder("refusals");
        machine.file("proc/misc", "236 device-mapper\n");
        let disks = vec![namespace.disk(Format::Blank), namespace.disk(Format::Blank)];
        let scene = Scene { machine, disks, _namespace: namespace };
        scene.configure("node1", "");
        let devices: Vec<&str> = scene.disks.iter().map(|disk| disk.device().to_str().unwrap()).collect();
        scene.lvm(&[&["pvcreate", "-qq"], devices.as_slice()].concat());
        scene.lvm(&[&["vgcreate", "-qq", "-s", "1m", "vg1"], devices.as_slice()].concat());
        for name in volumes {
            let words =
                ["lvcreate", "-qq", "--driverloaded", "n", "-an", "-Zn", "-Wn", "-l", "1", "-n", name, "vg1"];
            scene.lvm(&words);
        }
        Some(scene)
    }

    /// This node's system ID, and more of lvm.conf.
    fn configure(&self, id: &str, more: &str) {
        let root = self.machine.root().display();
        let mut filter = String::new();
        for disk in &self.disks {
            filter += &format!("\"a|^{}$|\", ", disk.device().display());
        }
        let config = format!(
            "devices {{ use_devicesfile = 0 hints = \"none\" obtain_device_list_from_udev = 0\n\
             \tglobal_filter = [ {filter}\"r|.*|\" ] }}\n\
             global {{ locking_dir = \"{root}/lock\" system_id_source = \"lvmlocal\" activation = 0 }}\n\
             backup {{ backup = 0 archive = 0 }}\n{more}\n"
        );
        self.machine.file("etc/lvm/lvm.conf", config).folder("lock");
        self.machine.file("etc/lvm/lvmlocal.conf", format!("local {{ system_id = \"{id}\" }}\n"));
    }

    fn real(&self, words: &[&str]) -> (bool, String) {
        let mut lvm = Command::new("/usr/sbin/lvm");
        lvm.args(words)
            .env("LVM_SYSTEM_DIR", self.machine.path("etc/lvm"))
            .env("LVM_SUPPRESS_FD_WARNINGS", "1");
        let output = lvm.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    }

    #[track_caller]
    fn lvm(&self, words: &[&str]) -> String {
        let (succeeded, said) = self.real(words);
        assert!(succeeded, "{words:?}: {said}");
        said
    }

    fn field(&self, name: &str) -> String {
        let said = self.lvm(&["vgs", "--foreign", "--noheadings", "-o", name, "vg1"]);
        said.lines().filter(|line| !line.contains("WARNING")).collect::<String>().trim().to_owned()
    }
}

#[test]
fn kernel_a_group_of_real_lvm_is_started_monitored_and_stopped() {
    let Some(scene) = Scene::new(&["lv1", "a-b"]) else { return };
    let call = mode(&scene.machine, "system_id");
    call.probe().answers(NOT_RUNNING);
    call.monitor().answers(NOT_RUNNING);
    call.run("start").answers(SUCCESS);
    assert_eq!(mapped(&scene.machine), ["vg1-a--b", "vg1-lv1"]);
    assert_eq!(scene.field("vg_autoactivation"), "");
    call.monitor().answers(SUCCESS);
    call.run("stop").answers(SUCCESS);
    call.monitor().answers(NOT_RUNNING);
    assert!(mapped(&scene.machine).is_empty());
}

#[test]
fn kernel_a_group_is_really_taken_over_with_a_report_and_a_script() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    scene.lvm(&["vgchange", "--setautoactivation", "n", "vg1"]);
    scene.configure("node2", "");
    assert!(!scene.real(&["vgs", "vg1"]).0, "it is foreign");
    forget_commands(&scene.machine);
    mode(&scene.machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(scene.field("vg_systemid"), "node2");
    assert_eq!(commands(&scene.machine), ["fullreport", "script"]);
    assert_eq!(mapped(&scene.machine), ["vg1-lv1"]);
}

#[test]
fn kernel_a_takeover_and_the_first_switch_of_autoactivation_are_one_script() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    scene.configure("node2", "");
    mode(&scene.machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(commands(&scene.machine), ["fullreport", "script"]);
    assert_eq!((scene.field("vg_systemid"), scene.field("vg_autoactivation")), ("node2".into(), "".into()));
    assert_eq!(mapped(&scene.machine), ["vg1-lv1"]);
}

#[test]
fn kernel_real_tags_are_added_and_removed_one_by_one() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    scene.configure("node1", "activation { volume_list = [ \"root\" ] }");
    scene.lvm(&["vgchange", "--addtag", "backup-daily", "vg1"]);
    let call = mode(&scene.machine, "tagging").param("tag", "ours:a/b");
    call.run("start").answers(GENERIC).names("backup-daily");
    let call = call.param("ignored_tags", "backup-daily");
    scene.lvm(&["lvchange", "--addtag", "root", "vg1/lv1"]);
    call.run("start").answers(SUCCESS);
    call.run("stop").answers(SUCCESS);
    scene.configure("node1", "activation { volume_list = [ \"@root\" ] }");
    call.run("start").answers(ARGS).names("@root");
    scene.configure("node1", "activation { volume_list = [ \"root\" ] }");
    call.run("start").answers(SUCCESS);
    assert_eq!(scene.field("vg_tags"), "backup-daily,ours:a/b");
    call.run("stop").answers(SUCCESS);
    assert_eq!(scene.field("vg_tags"), "backup-daily");
}

#[test]
fn kernel_a_missing_disk_is_noticed_in_a_foreign_group() {
    let Some(mut scene) = Scene::new(&["lv1"]) else { return };
    scene.configure("node2", "");
    let _lost = scene.disks.pop();
    scene.configure("node2", "");
    let call = mode(&scene.machine, "system_id");
    call.run("start").answers(GENERIC).names("lacks 1 of its disks");
    // Allowed for, the takeover itself is refused by LVM, and that is a failed start.
    call.param("partial_activation", "yes").run("start").answers(GENERIC).names("still belongs to node1");
    assert_eq!(scene.field("vg_systemid"), "node1");
}

#[test]
fn kernel_a_group_whose_disks_are_gone_has_vanished() {
    let Some(mut scene) = Scene::new(&["lv1"]) else { return };
    scene.disks.clear();
    scene.configure("node1", "");
    mode(&scene.machine, "system_id").monitor().answers(GENERIC).names("vanished");
    mode(&scene.machine, "system_id").probe().answers(NOT_RUNNING);
    mode(&scene.machine, "system_id").run("start").answers(GENERIC).names("not visible");
    mode(&scene.machine, "system_id").run("stop").answers(SUCCESS);
}

/// Somebody's command that is stuck keeps the group's lock. Who only looks does not wait for it, and who changes fails
/// in time.
#[test]
fn kernel_a_stuck_lock_of_lvm_holds_up_no_look() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    let lock = scene.machine.path("lock/V_vg1");
    let mut stuck = Command::new("flock").arg("-xF").arg(&lock).args(["sleep", "60"]).spawn().unwrap();
    let is_held = || !Command::new("flock").arg("-xn").arg(&lock).arg("true").status().unwrap().success();
    while !is_held() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let call = mode(&scene.machine, "system_id").timeout_ms(4000);
    call.monitor().answers(NOT_RUNNING);
    call.clone().level(10).run("validate-all").answers(SUCCESS);
    let start = call.run("start").answers(GENERIC).within_ms(4000);
    start.names("activation of vg1: lvm did not end");
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

#[test]
fn kernel_guards_see_what_real_lvm_reports() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    let deep = |access: &str| mode(&scene.machine, access).level(10);
    deep("system_id").run("validate-all").answers(SUCCESS);
    deep("plain").run("validate-all").answers(SUCCESS);
    deep("lvmlockd").run("validate-all").answers(CONFIGURED);
    deep("tagging").run("validate-all").answers(ARGS);
    deep("system_id").param("lvname", "nosuch").run("validate-all").answers(CONFIGURED);
    scene.lvm(&["lvremove", "-y", "vg1/lv1"]);
    deep("system_id").run("validate-all").answers(CONFIGURED).names("no logical volume");
    scene.lvm(&["vgexport", "vg1"]);
    deep("system_id").run("validate-all").answers(GENERIC).names("exported");
}

/// Read by us from lvm.conf, and said by LVM.
#[test]
fn kernel_a_system_id_is_the_one_that_lvm_has() {
    let Some(scene) = Scene::new(&["lv1"]) else { return };
    let configuration = |source: &str, id: &str| {
        scene.configure(id, "");
        let file: PathBuf = scene.machine.path("etc/lvm/lvm.conf");
        let text = std::fs::read_to_string(&file).unwrap().replace("\"lvmlocal\"", &format!("\"{source}\""));
        std::fs::write(file, text).unwrap();
    };
    // What LVM reads of the real machine, our machine has, too.
    for file in ["/proc/sys/kernel/hostname", "/etc/machine-id"] {
        if let Ok(text) = std::fs::read(file) {
            scene.machine.file(file, text);
        }
    }
    for (source, id) in [
        ("lvmlocal", "node3"),
        ("lvmlocal", "--a b:c_d.e+f"),
        ("lvmlocal", "localhost.x"),
        ("uname", ""),
        ("machineid", ""),
    ] {
        configuration(source, id);
        let said = scene.lvm(&["systemid"]);
        let own = said.lines().find_map(|line| line.trim().strip_prefix("system ID: ")).unwrap_or_default();
        let answer = mode(&scene.machine, "system_id").run("start");
        if own.is_empty() {
            answer.answers(ARGS);
        } else {
            answer.answers(SUCCESS);
            assert_eq!(scene.field("vg_systemid"), own, "{source} {id}");
            mode(&scene.machine, "system_id").run("stop").answers(SUCCESS);
        }
    }
}
