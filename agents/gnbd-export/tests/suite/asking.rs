//! Monitor at depth 10: the protocol is spoken with a server that the test plays, in every mood. The servers' words follow
//! the specifications; qemu-nbd and nbd-server are asked in `nbd`, nvmet over real TCP in the lab.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use testkit::call::{GENERIC, SUCCESS};

use crate::scenes::{HOST, Scene, iqn, nqn, scene};

/// A listener on a free port, and what it does with one client. Joining gives what that client said last.
fn server(serve: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (port, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
}

fn hear(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut got = 0;
    while got < length {
        match stream.read(&mut bytes[got..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => got += more,
        }
    }
    bytes.truncate(got);
    bytes
}

/// A target of NVMe over TCP that answers Connect with this status.
fn nvme(status: u16) -> impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static {
    move |mut stream| {
        let hello = hear(&mut stream, 128);
        assert_eq!((hello[0], hello[2], hello[4]), (0, 128, 128), "ICReq");
        let mut answer = vec![0; 128];
        answer[..5].copy_from_slice(&[1, 0, 128, 0, 128]);
        stream.write_all(&answer).unwrap();
        let capsule = hear(&mut stream, 72 + 1024);
        let mut answer = vec![0; 24];
        answer[..5].copy_from_slice(&[5, 0, 24, 0, 24]);
        answer[20] = capsule[10];
        answer[22..24].copy_from_slice(&(status << 1).to_le_bytes());
        stream.write_all(&answer).unwrap();
        capsule
    }
}

fn asked(here: &Scene, backend: &str, port: &str) -> testkit::Call {
    here.r0(backend).param("port", port).level(10).timeout_ms(3000)
}

#[test]
fn nvme_is_asked_with_connect_as_an_admitted_host() {
    let Some(here) = scene() else { return };
    let (port, target) = server(nvme(0));
    let r0 = asked(&here, "nvmet", &port);
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
    let capsule = target.join().unwrap();
    // Common header of a command capsule with data in it; Fabrics, Connect; the descriptor of data in the capsule.
    assert_eq!(capsule[..8], [4, 0, 72, 72, 0x48, 4, 0, 0]);
    assert_eq!((capsule[8], capsule[9], capsule[12]), (0x7f, 0x40, 1));
    assert_eq!((capsule[40..44].to_vec(), capsule[47]), (1024_u32.to_le_bytes().to_vec(), 1));
    let text = |at: usize| String::from_utf8_lossy(&capsule[at..at + 256]).trim_end_matches('\0').to_owned();
    assert_eq!(text(72 + 256), nqn());
    assert_eq!(text(72 + 512), HOST);
    assert_eq!(capsule[72 + 16..72 + 18], [0xff, 0xff], "any controller");
}

#[test]
fn nvme_that_does_not_serve_the_export_fails_the_monitor() {
    for (status, word) in
        [(0x184, "refuses host"), (0x182, "does not know the subsystem"), (0x6, "status 0x6")]
    {
        let Some(here) = scene() else { return };
        let (port, target) = server(nvme(status));
        asked(&here, "nvmet", &port).run("start").answers(SUCCESS);
        asked(&here, "nvmet", &port).monitor().answers(GENERIC).names(word);
        target.join().unwrap();
    }
}

#[test]
fn nobody_s_refusal_is_an_answer_when_nobody_is_admitted() {
    let Some(here) = scene() else { return };
    let (port, target) = server(nvme(0x184));
    let nobody = here.bare("nvmet").param("port", &port).level(10);
    nobody.run("start").answers(SUCCESS);
    nobody.monitor().answers(SUCCESS);
    target.join().unwrap();
}

/// A discovery session that lists these targets.
fn portal(status: u8, targets: String) -> impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static {
    move |mut stream| {
        let login = hear(&mut stream, 48);
        assert_eq!((login[0], login[1]), (0x43, 0x87), "immediate login to the full feature phase");
        let length = usize::from(login[6]) * 256 + usize::from(login[7]);
        let keys = hear(&mut stream, length.next_multiple_of(4));
        let keys = String::from_utf8_lossy(&keys).into_owned();
        assert!(keys.contains("SessionType=Discovery\0"));
        // LIO of Linux 6.1 lists nothing, and says that there is more, to who does not say how much he takes.
        assert!(keys.contains("\0MaxRecvDataSegmentLength=65536\0"), "{keys}");
        // Once it does not go on to the next stage yet: it declares something first.
        let mut answer = vec![0; 48];
        answer[..2].copy_from_slice(&[0x23, 0x04]);
        answer[27] = 7;
        stream.write_all(&answer).unwrap();
        let again = hear(&mut stream, 48);
        assert_eq!(
            (again[0], again[1], again[7], again[31]),
            (0x43, 0x87, 0, 8),
            "no keys, the next status expected"
        );
        answer[..2].copy_from_slice(&[0x23, 0x87]);
        answer[36] = status;
        stream.write_all(&answer).unwrap();
        let text = hear(&mut stream, 48 + 16);
        let data = format!("TargetName={targets}\0TargetAddress=127.0.0.1:3260,1\0").into_bytes();
        let mut answer = vec![0; 48];
        answer[..2].copy_from_slice(&[0x24, 0x80]);
        answer[7] = u8::try_from(data.len()).unwrap();
        answer.extend(&data);
        answer.resize(answer.len().next_multiple_of(4), 0);
        let _ = stream.write_all(&answer);
        text
    }
}

#[test]
fn iscsi_is_asked_for_its_targets_in_a_discovery() {
    let Some(here) = scene() else { return };
    let (port, target) = server(portal(0, iqn()));
    asked(&here, "lio", &port).run("start").answers(SUCCESS);
    asked(&here, "lio", &port).monitor().answers(SUCCESS);
    let text = target.join().unwrap();
    assert_eq!(text[0], 0x44);
    assert!(String::from_utf8_lossy(&text).contains("SendTargets=All"));
    for (status, targets, word) in [(0, "iqn.other".to_owned(), "list the target"), (2, iqn(), "status 0200")]
    {
        let Some(here) = scene() else { return };
        let (port, target) = server(portal(status, targets));
        asked(&here, "lio", &port).run("start").answers(SUCCESS);
        asked(&here, "lio", &port).monitor().answers(GENERIC).names(word);
        target.join().unwrap();
    }
}

/// Whatever the other side does, the monitor fails by itself and in time.
#[test]
fn a_server_in_any_mood_is_an_error_in_time() {
    type Mood = fn(TcpStream) -> Vec<u8>;
    let moods: [(&str, Mood); 5] = [
        ("silent", |stream| {
            std::thread::sleep(std::time::Duration::from_secs(5));
            drop(stream);
            Vec::new()
        }),
        ("gone", |stream| {
            drop(stream);
            Vec::new()
        }),
        ("babbling", |mut stream| {
            let _ = stream.write_all(&[b'x'; 4096]);
            Vec::new()
        }),
        ("dripping", |mut stream| {
            for _ in 0..50 {
                if stream.write_all(&[1]).is_err() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Vec::new()
        }),
        ("flooding", |mut stream| {
            while stream.write_all(&[0xff; 65536]).is_ok() {}
            Vec::new()
        }),
    ];
    for backend in ["nvmet", "lio"] {
        for (_, mood) in moods {
            let Some(here) = scene() else { return };
            let (port, _) = server(mood);
            let r0 = asked(&here, backend, &port);
            r0.run("start").answers(SUCCESS);
            let answer = r0.monitor().within_ms(3000);
            answer.answers(GENERIC).names("does not answer");
        }
        let Some(here) = scene() else { return };
        let closed = asked(&here, backend, "1");
        closed.run("start").answers(SUCCESS);
        closed.monitor().answers(GENERIC).names("refused");
        // Depth 0 does not ask.
        closed.level(0).monitor().answers(SUCCESS);
    }
}

/// The target framework of user space (tgt), where it is installed: another implementation than the kernel's, and none
/// of ours.
#[test]
fn a_real_iscsi_target_understands_the_question() {
    if !std::path::Path::new("/usr/sbin/tgtd").exists() {
        return eprintln!("test skipped: no tgtd");
    }
    let Some(here) = scene() else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let portal = format!("portal=127.0.0.1:{port}");
    let mut tgtd = std::process::Command::new("/usr/sbin/tgtd");
    let mut tgtd = tgtd.args(["-f", "--iscsi", &portal]).stdout(std::process::Stdio::null());
    tgtd = tgtd.stderr(std::process::Stdio::null());
    let mut tgtd = tgtd.spawn().unwrap();
    let admin = |words: &str| {
        let mut tool = std::process::Command::new("/usr/sbin/tgtadm");
        tool.args(words.split(' ')).output().unwrap().status.success()
    };
    let new = format!("--lld iscsi --op new --mode target --tid 1 -T {}", iqn());
    testkit::kernel::wait_until("tgtd takes orders", || admin(&new));
    let r0 = asked(&here, "lio", &port);
    r0.run("start").answers(SUCCESS);
    let hidden = r0.monitor();
    let bound = admin("--lld iscsi --op bind --mode target --tid 1 -I ALL");
    let open = r0.monitor();
    tgtd.kill().unwrap();
    tgtd.wait().unwrap();
    hidden.answers(GENERIC).names("list the target");
    assert!(bound);
    open.answers(SUCCESS);
}
