//! nbd: the real qemu-nbd and nbd-server on loop devices, where they are installed; and their faults, played.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::Machine;
use testkit::{Call, Tool};

use crate::scenes::{BINARY, scene};

struct Real {
    name: String,
    export: Call,
    disk: Disk,
    port: u16,
    _machine: Machine,
}

/// Below those that the kernel gives to clients, and another one for each test.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An export by the real server; its name and port are this test's alone, its /run is its own. None: not here.
fn real(backend: &str, name: &str) -> Option<Real> {
    if !["/usr/bin", "/usr/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(backend).exists()) {
        eprintln!("test skipped: no {backend}");
        return None;
    }
    let machine = Machine::private()?;
    let disk = machine.disk(Format::Blank);
    let port = free_port();
    let name = format!("{name}-{backend}-{}", std::process::id());
    let export = Call::ocf(BINARY).param("name", &name);
    let export = export.param("device", disk.device()).param("backend", backend).param("listen", "127.0.0.1");
    let export = export.param("port", port.to_string()).param("drain_timeout", "0");
    Some(Real { name, export, disk, port, _machine: machine })
}

/// Stops the export when the test fails before it does.
impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.export.run("stop");
    }
}

fn claim(disk: &Disk) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), nix::libc::O_EXCL);
    options.open(disk.device())
}

fn lives(backend: &str) {
    let Some(here) = real(backend, "lives") else { return };
    here.export.probe().answers(NOT_RUNNING);
    here.export.run("start").answers(SUCCESS);
    here.export.monitor().answers(SUCCESS);
    here.export.clone().level(10).monitor().answers(SUCCESS);
    here.export.run("start").answers(SUCCESS);
    here.export.run("stop").answers(SUCCESS);
    here.export.monitor().answers(NOT_RUNNING);
    here.export.run("stop").answers(SUCCESS);
    claim(&here.disk).expect("nobody has the device any more");
    assert!(TcpStream::connect(("127.0.0.1", here.port)).is_err(), "nobody listens");
    let left: Vec<_> =
        std::fs::read_dir("/run/holdfast").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["gnbd-export"], "no file of it stays, but for the lock of all exports");
}

#[test]
fn qemu_nbd_is_started_asked_and_stopped() {
    lives("qemu-nbd");
}

#[test]
fn nbd_server_is_started_asked_and_stopped() {
    lives("nbd-server");
}

fn differs(backend: &str) {
    let Some(here) = real(backend, "differs") else { return };
    here.export.run("start").answers(SUCCESS);
    let other = Disk::of_image(here.disk.image());
    let with = |name: &str, value: &str| here.export.clone().param(name, value);
    let device = here.export.clone().param("device", other.device());
    device.monitor().answers(GENERIC).names(here.disk.device().to_str().unwrap());
    device.run("start").answers(GENERIC).names("stop it first");
    with("readonly", "yes").monitor().answers(GENERIC).names("other parameters");
    with("port", "1").monitor().answers(GENERIC).names("other parameters");
    here.export.run("stop").answers(SUCCESS);
    with("readonly", "yes").run("start").answers(SUCCESS);
    with("readonly", "yes").level(10).monitor().answers(SUCCESS);
    with("readonly", "yes").run("stop").answers(SUCCESS);
}

#[test]
fn another_device_or_mode_of_qemu_nbd_is_an_error() {
    differs("qemu-nbd");
}

#[test]
fn another_device_or_mode_of_nbd_server_is_an_error() {
    differs("nbd-server");
}

/// The NBD handshake up to an open export: nbd-server has the device open then.
fn connect(port: u16, name: &str) -> TcpStream {
    open_export(TcpStream::connect(("127.0.0.1", port)).unwrap(), name).unwrap()
}

fn open_export(mut stream: TcpStream, name: &str) -> std::io::Result<TcpStream> {
    stream.read_exact(&mut [0; 18])?;
    let mut words = 1_u32.to_be_bytes().to_vec();
    words.extend(b"IHAVEOPT\0\0\0\x01");
    words.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    words.extend(name.as_bytes());
    std::io::Write::write_all(&mut stream, &words)?;
    stream.read_exact(&mut [0; 8 + 2 + 124])?;
    Ok(stream)
}

#[test]
fn a_client_of_nbd_server_is_cut_off_or_fails_the_stop() {
    let Some(here) = real("nbd-server", "client") else { return };
    here.export.run("start").answers(SUCCESS);
    let mut client = connect(here.port, &here.name);
    here.export.clone().param("force_stop", "no").run("stop").answers(GENERIC).names("clients");
    here.export.monitor().answers(SUCCESS);
    here.export.run("stop").answers(SUCCESS);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    claim(&here.disk).expect("nobody has the device any more");
}

#[test]
fn a_client_of_qemu_nbd_does_not_hold_up_the_stop() {
    let Some(here) = real("qemu-nbd", "client") else { return };
    here.export.run("start").answers(SUCCESS);
    let mut client = connect(here.port, &here.name);
    here.export.run("stop").answers(SUCCESS);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    claim(&here.disk).expect("nobody has the device any more");
}

#[test]
fn a_server_that_was_killed_is_stopped_and_starts_again() {
    for backend in ["qemu-nbd", "nbd-server"] {
        let Some(here) = real(backend, "killed") else { continue };
        here.export.run("start").answers(SUCCESS);
        let file = format!("/run/holdfast/gnbd-export-{}.pid", here.name);
        let pid = std::fs::read_to_string(file).unwrap();
        testkit::kernel::tool("kill", &["-KILL".as_ref(), pid.trim().as_ref()]);
        testkit::kernel::wait_until("it dies", || here.export.monitor().code == Some(NOT_RUNNING));
        here.export.run("start").answers(SUCCESS);
        here.export.clone().level(10).monitor().answers(SUCCESS);
        here.export.run("stop").answers(SUCCESS);
    }
}

/// nbd-server says nothing when it cannot open its port.
#[test]
fn a_port_that_is_taken_fails_the_start() {
    for backend in ["qemu-nbd", "nbd-server"] {
        let Some(here) = real(backend, "taken") else { continue };
        let _other = TcpListener::bind(("127.0.0.1", here.port)).unwrap();
        let answer = here.export.clone().timeout_ms(15_000).run("start").answers(GENERIC);
        assert!(answer.elapsed.as_secs() < 15, "{answer}");
        here.export.monitor().answers(NOT_RUNNING);
        claim(&here.disk).expect("nobody has the device");
    }
}

#[test]
fn a_process_of_somebody_else_is_not_taken_for_ours() {
    let Some(here) = real("qemu-nbd", "foreign") else { return };
    let mut foreign = std::process::Command::new("qemu-nbd");
    foreign.args(["-t", "-f", "raw", "-x", &here.name, "-b", "127.0.0.1", "-p", &here.port.to_string()]);
    let mut foreign = foreign.arg(here.disk.device()).spawn().unwrap();
    testkit::kernel::wait_until("it listens", || TcpStream::connect(("127.0.0.1", here.port)).is_ok());
    here.export.monitor().answers(NOT_RUNNING);
    here.export.run("stop").answers(SUCCESS);
    assert!(foreign.try_wait().unwrap().is_none(), "it was not stopped");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

/// A dying server says nothing of itself, but may have the device open.
#[test]
fn a_server_that_is_dying_is_never_a_stop() {
    let Some(here) = scene() else { return };
    let r0 = here.bare("nbd").timeout_ms(3000);
    for (state, code) in [("D", GENERIC), ("Z", SUCCESS)] {
        here.sandbox.file("proc/4190007/comm", "qemu-nbd\n").file("proc/4190007/cmdline", "");
        here.sandbox.file("proc/4190007/stat", format!("4190007 (qemu-nbd) {state} 1 1 1\n"));
        r0.run("stop").within_ms(3000).answers(code);
    }
}

/// Servers of other exports come and go, and a stop that meets one on its way out has not failed.
#[test]
fn a_server_of_another_export_that_is_dying_is_waited_for() {
    let Some(here) = scene() else { return };
    let r0 = here.bare("nbd").timeout_ms(20_000);
    here.sandbox.file("proc/4190007/comm", "qemu-nbd\n").file("proc/4190007/cmdline", "");
    here.sandbox.file("proc/4190007/stat", "4190007 (qemu-nbd) Z 1 1 1\n");
    let stat = std::fs::File::options().write(true).open(here.sandbox.path("proc/4190007/stat")).unwrap();
    let (told, over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            for state in [b"D", b"Z"].into_iter().cycle() {
                std::os::unix::fs::FileExt::write_all_at(&stat, state, "4190007 (qemu-nbd) ".len() as u64)
                    .unwrap();
                if over.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                    break;
                }
            }
        });
        for _ in 0..20 {
            r0.run("stop").answers(SUCCESS);
        }
        drop(told);
    });
}

#[test]
fn whom_a_server_cannot_refuse_it_does_not_serve() {
    let Some(here) = scene() else { return };
    for tool in ["qemu-nbd", "nbd-server"] {
        here.sandbox.tool(tool, Tool::Succeeds);
    }
    here.bare("qemu-nbd").param("allow", "10.0.0.1").run("start").answers(CONFIGURED).names("qemu-nbd");
    here.bare("nbd-server").param("allow", "nqn.x").run("start").answers(CONFIGURED).names("address");
    // Somebody is named, so it is nbd-server; it does nothing here, so the start fails.
    let nbd = here.bare("nbd").param("allow", "10.0.0.0/24 10.1.0.1").param("port", "1").timeout_ms(2000);
    nbd.run("start").answers(GENERIC).names("does not answer");
    assert_eq!(here.sandbox.calls("nbd-server").len(), 1);
    assert!(here.sandbox.calls("qemu-nbd").is_empty());
}

/// Whether the server opens the export to another address of this machine.
fn is_served_from(address: &str, here: &Real) -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
    let from: std::net::SocketAddrV4 = format!("{address}:0").parse().unwrap();
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(from)).unwrap();
    let to: std::net::SocketAddrV4 = format!("127.0.0.1:{}", here.port).parse().unwrap();
    nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(to)).unwrap();
    open_export(TcpStream::from(socket), &here.name).is_ok()
}

#[test]
fn nbd_server_admits_those_in_allow_and_the_node_itself() {
    let Some(here) = real("nbd-server", "listed") else { return };
    let allowed = here.export.clone().param("allow", "127.0.0.3 10.0.0.0/24");
    allowed.run("start").answers(SUCCESS);
    allowed.clone().level(10).monitor().answers(SUCCESS);
    assert!(is_served_from("127.0.0.3", &here));
    assert!(!is_served_from("127.0.0.2", &here));
    allowed.run("stop").answers(SUCCESS);
}

#[test]
fn faults_of_the_servers_in_start() {
    for server in ["qemu-nbd", "nbd-server"] {
        for (how, behaviour) in Tool::misbehaviours(1) {
            let Some(here) = scene() else { return };
            if let Some(behaviour) = behaviour {
                here.sandbox.tool(server, behaviour);
            }
            let answer = here.bare(server).param("port", "1").timeout_ms(3000).run("start");
            let context = format!("{server} {how}: {answer}");
            let answer = answer.within_ms(3000);
            answer.answers(if how == "missing" { INSTALLED } else { GENERIC });
            if how != "missing" {
                assert!(!here.sandbox.tool_lives(server), "{context}");
            }
        }
    }
}
