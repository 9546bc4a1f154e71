//! Processes that keep a mount busy, each in one way, and that end with the test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{tool, wait_until};

/// A process that uses a mount.
#[derive(Debug)]
pub struct User {
    child: Child,
}

impl User {
    fn spawn(command: &mut Command) -> User {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        User { child: command.spawn().unwrap() }
    }

    /// Runs a shell script in its own process group, with the directory as `$0`. Returns when the script has
    /// created the file `$READY`, which lies beside the directory.
    fn shell(script: &str, directory: &Path) -> User {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let ready = directory.with_extension(format!("ready{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let script = format!("READY='{}'\n{script}", ready.display());
        let user = User::spawn(Command::new("/bin/sh").args(["-c", &script]).arg(directory).process_group(0));
        wait_until("the shell is ready", || ready.exists());
        user
    }

    /// Its working directory is the mount.
    pub fn with_cwd(directory: &Path) -> User {
        User::spawn(Command::new("/bin/sleep").arg("600").current_dir(directory))
    }

    /// It holds a file of the mount open.
    pub fn with_open_file(file: &Path) -> User {
        let opened = File::options().append(true).create(true).open(file).unwrap();
        let mut command = Command::new("/bin/sleep");
        User {
            child: command
                .arg("600")
                .stdin(opened)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        }
    }

    /// Its program lies on the mount.
    pub fn with_program(directory: &Path) -> User {
        User::with_program_named(directory, "user-program")
    }

    /// Its program lies on the mount and has this name.
    pub fn with_program_named(directory: &Path, name: &str) -> User {
        let program = directory.join(name);
        tool("cp", &["/bin/sleep".as_ref(), program.as_os_str()]);
        User::spawn(Command::new(program).arg("600"))
    }

    /// Its program has this name, lies elsewhere, and works in the mount.
    pub fn named(name: &str, elsewhere: &Path, directory: &Path) -> User {
        let program = elsewhere.join(name);
        tool("cp", &["/bin/sleep".as_ref(), program.as_os_str()]);
        User::spawn(Command::new(program).arg("600").current_dir(directory))
    }

    /// It has a file of the mount mapped, and no descriptor of it.
    pub fn with_mapping(directory: &Path) -> User {
        let library = directory.join("mapped.so");
        let linked = tool("ldd", &["/bin/sleep".as_ref()]);
        let libc = linked.split_whitespace().find(|word| word.starts_with('/') && word.contains("libc.so"));
        tool("cp", &[libc.expect("sleep has a C library").as_ref(), library.as_os_str()]);
        let user = User::spawn(Command::new("/bin/sleep").arg("600").env("LD_PRELOAD", &library));
        let maps = format!("/proc/{}/maps", user.pid());
        wait_until("the mapping is there", || {
            fs::read_to_string(&maps).is_ok_and(|it| it.contains("mapped.so"))
        });
        user
    }

    /// Its root directory is the mount.
    pub fn with_root(directory: &Path) -> User {
        let change = "chroot $ARGV[0] or die; chdir '/' or die; open my $f, '>', '/is-root' or die; close $f; \
                      sleep 600";
        let user = User::spawn(Command::new("/usr/bin/perl").args(["-e", change]).arg(directory));
        wait_until("the root is changed", || directory.join("is-root").exists());
        user
    }

    /// It works in the mount and ignores TERM.
    pub fn ignoring_term(directory: &Path) -> User {
        User::shell("trap '' TERM; cd \"$0\" && : >\"$READY\" && exec sleep 600", directory)
    }

    /// It works in the mount, and needs some time to end after TERM; then it leaves a file `farewell` there.
    pub fn ending_slowly(directory: &Path, seconds: &str) -> User {
        let script = format!(
            "cd \"$0\" && trap 'sleep {seconds}; echo done >farewell; exit 0' TERM; : >\"$READY\"\n\
             while :; do sleep 0.02; done"
        );
        User::shell(&script, directory)
    }

    /// It writes a line `signal` into `record` for each of these signals, and goes on.
    pub fn recording(directory: &Path, record: &Path, signals: &[&str]) -> User {
        let traps: String = signals
            .iter()
            .map(|signal| format!("trap 'echo {signal} >>\"{}\"' {signal}\n", record.display()))
            .collect();
        User::shell(&format!("{traps}cd \"$0\"; : >\"$READY\"\nwhile :; do sleep 0.02; done"), directory)
    }

    /// Whenever its child, which works in the mount, ends, it starts the next.
    pub fn respawning(directory: &Path) -> User {
        User::shell("while :; do (cd \"$0\" && : >\"$READY\" && exec sleep 600); done", directory)
    }

    /// It works in the mount, in a mount namespace of its own.
    pub fn in_other_namespace(directory: &Path) -> User {
        let script = "exec unshare --mount --propagation private sh -c 'cd \"$0\" && : >\"$1\"; exec sleep 600' \
                      \"$0\" \"$READY\"";
        User::shell(script, directory)
    }

    /// It works in the mount, in a mount namespace that gets the mounts and unmounts of this one.
    pub fn in_following_namespace(directory: &Path) -> User {
        let script = "exec unshare --mount --propagation slave sh -c 'cd \"$0\" && : >\"$1\"; exec sleep 600' \
                      \"$0\" \"$READY\"";
        User::shell(script, directory)
    }

    /// One of its threads works in the mount; the process as a whole does not.
    pub fn with_thread_in(directory: &Path) -> User {
        const PROGRAM: &str = r#"
            #define _GNU_SOURCE
            #include <fcntl.h>
            #include <pthread.h>
            #include <sched.h>
            #include <unistd.h>
            static void *work(void *arguments) {
                char **names = arguments;
                if (unshare(CLONE_FS) || chdir(names[1]) || creat(names[2], 0600) < 0) _exit(1);
                for (;;) pause();
            }
            int main(int count, char **names) {
                pthread_t thread;
                if (count != 3 || pthread_create(&thread, 0, work, names)) return 1;
                for (;;) pause();
            }
        "#;
        let program = compiled(PROGRAM, directory, &directory.with_extension("thread"));
        User::shell(&format!("exec '{}' \"$0\" \"$READY\"", program.display()), directory)
    }

    /// Its program lies on the mount, and its first thread has ended.
    pub fn without_first_thread(directory: &Path) -> User {
        const PROGRAM: &str = r#"
            #include <fcntl.h>
            #include <pthread.h>
            #include <unistd.h>
            static void *work(void *name) {
                while (access("/proc/self/exe", F_OK) == 0) usleep(1000);
                if (creat(name, 0600) < 0) _exit(1);
                for (;;) pause();
            }
            int main(int count, char **names) {
                pthread_t thread;
                if (count != 2 || chdir("/") || pthread_create(&thread, 0, work, names[1])) return 1;
                pthread_exit(0);
            }
        "#;
        let program = compiled(PROGRAM, directory, &directory.join("without-first"));
        User::shell(&format!("exec '{}' \"$READY\"", program.display()), directory)
    }

    /// It has a file of the mount open under a high number.
    pub fn with_high_descriptor(directory: &Path) -> User {
        let script = "exec perl -MPOSIX -e 'POSIX::dup2(POSIX::open(\"$ARGV[0]/high\", O_CREAT|O_RDWR), 999); \
                      POSIX::close(3); open my $f, \">\", $ARGV[1]; close $f; sleep 600' \"$0\" \"$READY\"";
        User::shell(script, directory)
    }

    /// Processes that use nothing, beside the directory.
    pub fn crowd(count: usize, directory: &Path) -> User {
        let script = format!("for i in $(seq {count}); do sleep 600 & done; : >\"$READY\"; wait");
        User::shell(&script, directory)
    }

    /// It uses nothing, but its mount namespace still has the mount.
    pub fn namespace_holder(directory: &Path) -> User {
        let script = "cd /; exec unshare --mount --propagation private sh -c ': >\"$1\"; exec sleep 600' \
                      \"$0\" \"$READY\"";
        User::shell(script, directory)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// Built with the C compiler that cargo links with.
fn compiled(text: &str, directory: &Path, program: &Path) -> PathBuf {
    let source = directory.with_extension("c");
    fs::write(&source, text).unwrap();
    tool("cc", &["-pthread".as_ref(), source.as_os_str(), "-o".as_ref(), program.as_os_str()]);
    program.to_owned()
}

impl Drop for User {
    fn drop(&mut self) {
        // The group too, when it leads one: a respawning shell must not leave its last child behind.
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        if nix::unistd::getpgid(Some(group)) == Ok(group) {
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
