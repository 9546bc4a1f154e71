//! Among many processes the kernel is asked who may be a user; here it is for few ones too. Whatever it says, or does not say, the answer is that of
//! /proc, and the stop that of umount(2).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::Call;
use testkit::call::SUCCESS;
use testkit::disk::Format;
use testkit::kernel::{bind_here, is_mounted, mount_here};
use testkit::users::User;

use crate::scenes::{BINARY, Scene, running};

/// Tells a debug build what the kernel does when it is asked: what it can do, `errno NUMBER`, `kill`, `name PID...`.
const BPF: &str = "OCF_TEST_BPF";
const ASK: &str = "ask";

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// What the debug log says when the kernel has answered.
const ANSWERED: &str = "says the kernel";
const IN_PROC: &str = "users are looked for in /proc";

/// Whether this kernel has what is needed. It is not asked from within another pid namespace.
fn kernel_can() -> bool {
    let types = fs::read(TYPES).unwrap_or_default();
    let can = name_in(&types, "bpf_iter_num_new").is_some()
        && std::env::var_os("OCF_TEST_OLD_KERNEL").is_none()
        && fs::read_link("/proc/self/ns/pid").is_ok_and(|it| it == Path::new("pid:[4026531836]"));
    if !can {
        eprintln!("this kernel cannot be asked: only /proc is tested");
    }
    can
}

/// A call with a debug log, and what is in that.
fn with_log(here: &Scene, call: Call) -> (Call, impl Fn() -> String) {
    let log = here.machine.path("log");
    (call.env("HA_LOGFILE", &log).env("HA_debug", "1"), move || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text
    })
}

/// The words by hand that print the users.
fn words(here: &Scene) -> Vec<OsString> {
    let mut words = Command::new("");
    words.arg("--device").arg(here.disk.device()).arg("--directory").arg(&here.dir);
    words.args(["--fstype", "auto", "users"]).get_args().map(OsStr::to_owned).collect()
}

/// The lines that `users` prints, in order, and whether the kernel was asked for them.
#[track_caller]
fn users(here: &Scene, bpf: &str) -> (Vec<String>, bool) {
    let (by_hand, log) = with_log(here, Call::bare(BINARY).env(BPF, bpf));
    let answer = by_hand.run_args(words(here)).exits(SUCCESS);
    let mut lines: Vec<String> = answer.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    let log = log();
    let answered = log.contains(ANSWERED) && !log.contains(IN_PROC);
    assert!(answered || log.contains(IN_PROC), "{log}");
    (lines, answered)
}

/// One user of each kind.
fn all_kinds(dir: &Path) -> Vec<User> {
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    let deleted = User::with_open_file(&dir.join("deleted"));
    fs::remove_file(dir.join("deleted")).unwrap();
    vec![
        deleted,
        User::with_cwd(&dir.join("deep/er")),
        User::with_open_file(&dir.join("log")),
        User::with_high_descriptor(dir),
        User::with_program(dir),
        User::with_mapping(dir),
        User::with_root(dir),
        User::in_following_namespace(dir),
        User::with_thread_in(dir),
        User::without_first_thread(dir),
    ]
}

#[test]
fn kernel_the_kernel_and_proc_name_the_same_users() {
    for format in [Format::Ext4, Format::Btrfs, Format::Xfs] {
        let Some(here) = running(format) else { return };
        let _crowd = User::crowd(100, here.machine.base());
        let users_here = all_kinds(&here.dir);
        // These are none, though two of them use the same file system by another mount.
        let sub = here.machine.dir("data/sub");
        mount_here("tmpfs", &sub, "tmpfs", "");
        let other = here.machine.dir("other");
        bind_here(&here.dir, &other);
        let _others = [User::with_cwd(&sub), User::with_cwd(&other), User::with_mapping(&other)];
        let (asked, answered) = users(&here, ASK);
        let (walked, refused) = users(&here, "errno 1");
        assert_eq!(asked, walked);
        assert_eq!((answered, refused), (kernel_can(), false));
        // In another namespace the mount is a copy.
        let mut pids: Vec<String> = users_here.iter().map(|user| user.pid().to_string()).collect();
        pids.remove(7);
        pids.sort();
        let mut named: Vec<String> =
            asked.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        named.sort();
        assert_eq!(named, pids);
        drop(_others);
        testkit::kernel::unmount_here(&other);
    }
}

#[test]
fn kernel_users_of_every_kind_are_found_and_ended() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut users = all_kinds(&here.dir);
    let (data, log) = with_log(&here, here.data.clone().env(BPF, ASK));
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    assert!(users.iter_mut().all(|user| !user.is_alive()));
    let log = log();
    assert_eq!(log.contains(ANSWERED), kernel_can(), "{log}");
}

/// EPERM, ENOMEM, EACCES, EINVAL (the verifier; lockdown), ENOSYS, and a seccomp filter that kills.
#[test]
fn kernel_without_the_right_to_ask_proc_is_searched() {
    let Some(here) = running(Format::Ext4) else { return };
    for refusal in ["errno 1", "errno 12", "errno 13", "errno 22", "errno 38", "kill"] {
        let mut user = User::with_cwd(&here.dir);
        let (found, answered) = users(&here, refusal);
        assert_eq!((found, answered), (vec![format!("{} cwd sleep", user.pid())], false), "{refusal}");
        here.data.clone().env(BPF, refusal).run("stop").answers(SUCCESS);
        assert!(!user.is_alive() && !is_mounted(&here.dir), "{refusal}");
        here.data.run("start").answers(SUCCESS);
    }
    // The real thing: root without CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN.
    let user = User::with_cwd(&here.dir);
    let (by_hand, log) = with_log(&here, Call::bare("/usr/bin/setpriv").env(BPF, ASK));
    let mut command = by_hand.command();
    command.args(["--bounding-set=-bpf,-perfmon,-sys_admin", BINARY]).args(words(&here));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{} cwd sleep\n", user.pid()), "{output:?}");
    let log = log();
    assert!(log.contains(IN_PROC), "{log}");
}

/// Type information that is missing, damaged, or of another kernel.
#[test]
fn kernel_type_information_that_is_wrong_leads_to_proc() {
    let Some(here) = running(Format::Ext4) else { return };
    let mapper = User::with_mapping(&here.dir);
    let user = User::with_open_file(&here.dir.join("log"));
    let mut expected = vec![format!("{} mmap sleep", mapper.pid()), format!("{} fd sleep", user.pid())];
    expected.sort();
    let types = fs::read(TYPES).unwrap_or_default();
    let file = here.machine.path("types");
    let mut wrong: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("garbage", (0..40_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("cut off", types[..types.len() / 2].to_vec()),
    ];
    let unnamed = ["bpf_iter_task", "bpf_iter_task_vma", "bpf_rdonly_cast", "vm_file", "max_fds", "s_dev"];
    wrong.extend(unnamed.map(|name| (name, renamed(&types, name))));
    wrong.extend(
        ["fd", "max_fds", "vm_file", "fdt", "files", "s_dev", "mnt_sb"]
            .map(|name| (name, shifted(&types, name))),
    );
    fs::write(&file, "").unwrap();
    if !types.is_empty() {
        bind_here(&file, Path::new(TYPES));
    }
    for (what, types) in wrong {
        fs::write(&file, types).unwrap();
        assert_eq!(users(&here, ASK), (expected.clone(), false), "{what}");
    }
    drop((mapper, user));
}

/// The content with another name in the place of this one.
fn renamed(types: &[u8], name: &str) -> Vec<u8> {
    let mut types = types.to_vec();
    if let Some(at) = name_in(&types, name) {
        types[at] = b'x';
    }
    types
}

/// Where the name is: behind the types, from the place on that the header says.
fn name_in(types: &[u8], name: &str) -> Option<usize> {
    let begin = 24 + number(types, 16)?;
    let names = std::str::from_utf8(types.get(begin..)?).unwrap();
    names.find(&format!("\0{name}\0")).map(|at| begin + at + 1)
}

fn number(types: &[u8], at: usize) -> Option<usize> {
    let bytes = types.get(at..at + 4)?;
    usize::try_from(u32::from_ne_bytes(bytes.try_into().unwrap())).ok()
}

/// The content with every member of this name eight bytes further behind in its structure.
fn shifted(types: &[u8], name: &str) -> Vec<u8> {
    let mut changed = types.to_vec();
    let Some(at) = name_in(types, name) else { return changed };
    let number = |at| number(types, at).unwrap();
    let (begin, end, name) = (24 + number(8), 24 + number(12), at - 24 - number(16));
    // A member is three numbers: its name, its type and its place in bits.
    for at in (begin + 12..begin + end - 36).step_by(4).filter(|at| number(*at) == name) {
        let place = number(at + 8);
        if place % 8 == 0 && place < 1 << 20 {
            changed[at + 8..at + 12].copy_from_slice(&u32::try_from(place + 64).unwrap().to_ne_bytes());
        }
    }
    changed
}

/// The kernel answers, but not what is true.
#[test]
fn kernel_an_answer_that_names_nobody_or_others_does_not_keep_stop_from_its_users() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut bystander = User::with_cwd(here.machine.base());
    for names in [String::new(), format!(" {} 1 4194304 2147483647", bystander.pid())] {
        let mut users = all_kinds(&here.dir);
        let answer = format!("name{names}");
        here.data.clone().env(BPF, &answer).run("stop").answers(SUCCESS);
        assert!(!is_mounted(&here.dir), "{names}");
        assert!(users.iter_mut().all(|user| !user.is_alive()), "{names}");
        assert!(bystander.is_alive(), "{names}");
        here.data.run("start").answers(SUCCESS);
    }
}

/// Who does not leave must not be all that is ever seen.
#[test]
fn kernel_an_answer_that_names_only_some_is_not_the_last_word() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut stubborn = User::ignoring_term(&here.dir);
    let mut unnamed = User::with_cwd(&here.dir);
    let data = here.data.clone().env(BPF, format!("name {}", stubborn.pid())).timeout_ms(12_000);
    let mut stop = data.spawn("stop");
    let began = std::time::Instant::now();
    testkit::kernel::wait_until("the one who is not named has ended", || !unnamed.is_alive());
    // The first round waits a second for the other; the second half begins after six.
    assert!(began.elapsed() < Duration::from_millis(4500), "{:?}", began.elapsed());
    assert_eq!(stop.wait().unwrap().code(), Some(SUCCESS));
    assert!(!stubborn.is_alive() && !is_mounted(&here.dir));
}
