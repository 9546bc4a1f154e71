//! One machine: its power switch, its network cable, and a way to run commands in it.

use crate::hub::{hub_socket, node_socket};
use crate::images::Images;
use crate::owned::{self, Owned};
use crate::qemu::{Kind, Machine, monitor};
use crate::wire::{self, Answer, Request};
use crate::{Doing, Error, Result, failed};
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest that one command may take unless the scenario says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// From the power switch to the first answer; measured 8 to 20 s.
const BOOT: Duration = Duration::from_secs(150);

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code, or 128 and the signal.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Output {
    /// True if the command succeeded.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.code == 0
    }
}

/// How a node differs from the others.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name in the cluster.
    pub name: String,
    /// Its address in the cluster's network.
    pub address: String,
    /// Linux or Xen.
    pub kind: Kind,
    /// Size of the disk for the scenario (/dev/vdc).
    pub disk_mb: u64,
}

/// A machine of the lab, on or off.
#[derive(Debug)]
pub struct Node {
    number: usize,
    plan: Plan,
    directory: PathBuf,
    images: Images,
    power: Mutex<Option<(Owned, u16)>>,
}

impl Node {
    /// A new machine with empty disks, switched off. `directory` is the run's.
    ///
    /// # Errors
    /// When its disks cannot be made.
    pub fn new(number: usize, plan: Plan, directory: &Path, images: &Images) -> Result<Self> {
        let node = Self {
            number,
            plan,
            directory: directory.to_owned(),
            images: images.clone(),
            power: Mutex::new(None),
        };
        // What the node changes of the shared image. Raw, and with a journal: it has to survive a killed QEMU, as a
        // real machine's root survives a power failure.
        let state = node.state();
        File::create(&state)?.set_len(2 << 30)?;
        let mut mkfs = owned::command("mkfs.ext4");
        mkfs.args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-J", "size=16"]).arg(&state);
        mkfs.stderr(Stdio::piped());
        let output = owned::output(mkfs)?;
        if !output.status.success() {
            return Err(failed(format!("mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr))));
        }
        File::create(node.file("data"))?.set_len(node.plan.disk_mb << 20)?;
        Ok(node)
    }

    /// 1 for the first.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its address in the cluster's network.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.plan.address
    }

    /// The port of this machine that leads to its server, when it is on.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.power().as_ref().map(|(_, port)| *port)
    }

    /// What it printed on its console since it was switched on for the first time.
    #[must_use]
    pub fn console(&self) -> String {
        let mut console =
            String::from_utf8_lossy(&fs::read(self.file("console.old")).unwrap_or_default()).into_owned();
        console.push_str(&String::from_utf8_lossy(&fs::read(self.file("console")).unwrap_or_default()));
        console
    }

    /// The disk with what it has changed of the shared image.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.file("state")
    }

    /// Switches it on and does not wait.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn switch_on(&self) -> Result {
        let mut power = self.power();
        if power.as_mut().is_some_and(|(qemu, _)| qemu.ended().is_none()) {
            return Ok(());
        }
        // The kernel's messages of the last boot are part of the story.
        fs::write(self.file("console.old"), self.console())?;
        let _ = fs::remove_file(self.file("console"));
        let own = node_socket(&self.directory, self.number);
        let _ = fs::remove_file(&own);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let machine = Machine {
            kind: self.plan.kind,
            megabytes: if self.plan.kind == Kind::Xen { 1536 } else { 1024 },
            name: &self.plan.name,
            address: &self.plan.address,
            hardware_address: &format!("52:54:00:00:00:{:02x}", self.number),
            port,
            kernel: &self.images.kernel(),
            xen: &self.images.xen(),
            initramfs: &self.directory.join("initramfs"),
            root: &self.images.root(),
            disks: &[self.state(), self.file("data")],
            network: (&own, &hub_socket(&self.directory, self.number)),
            console: &self.file("console"),
            monitor: &self.file("qmp"),
        };
        let mut command = owned::command("qemu-system-x86_64");
        command.args(machine.arguments()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(self.file("qemu.log"))?);
        *power = Some((owned::spawn(command)?, port));
        Ok(())
    }

    /// Waits until it does what it is told.
    ///
    /// # Errors
    /// When it does not come up: [`Error::Boot`].
    pub fn wait_until_up(&self) -> Result {
        let begin = Instant::now();
        loop {
            if self.ask(&Request::Ping, &[], Duration::from_secs(5)).is_ok() {
                return Ok(());
            }
            let gone = !self.is_on();
            if gone || begin.elapsed() > BOOT {
                let why = if gone { "QEMU ended" } else { "no answer" };
                let said = fs::read_to_string(self.file("qemu.log")).unwrap_or_default();
                let console = self.console();
                let lines: Vec<&str> = console.lines().rev().take(12).collect();
                let tail: Vec<&str> = lines.into_iter().rev().collect();
                let text = format!("{} does not boot: {why}\n{said}{}", self.plan.name, tail.join("\n"));
                return Err(Error::Boot(text));
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// Switches it on and waits until it is up. A node that does not come up is switched off and on once.
    ///
    /// # Errors
    /// When it does not come up twice.
    pub fn boot(&self) -> Result {
        self.switch_on()?;
        self.wait_until_up().or_else(|_| {
            self.kill();
            self.switch_on()?;
            self.wait_until_up()
        })
    }

    /// Pulls the power cable.
    pub fn kill(&self) {
        *self.power() = None;
    }

    /// Shuts it down: writes all to disk and switches off. Services are the scenario's to stop.
    ///
    /// # Errors
    /// When it does not switch off.
    pub fn shut_down(&self) -> Result {
        self.ask(&Request::PowerOff, &[], Duration::from_secs(30))
            .doing(format_args!("{} off", self.plan.name))?;
        let begin = Instant::now();
        while self.is_on() {
            if begin.elapsed() > Duration::from_secs(60) {
                return Err(failed(format!("{} does not switch off", self.plan.name)));
            }
            sleep(Duration::from_millis(50));
        }
        self.kill();
        Ok(())
    }

    /// True while the machine has power. It loses it when it crashes or reboots.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.power().as_mut().is_some_and(|(qemu, _)| qemu.ended().is_none())
    }

    /// Pulls the cluster's network cable: also the carrier is gone.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn unplug(&self) -> Result {
        monitor(&self.file("qmp"), "set_link", json!({"name": "nic0", "up": false})).map(|_| ())
    }

    /// Puts the cluster's network cable back.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn plug_in(&self) -> Result {
        monitor(&self.file("qmp"), "set_link", json!({"name": "nic0", "up": true})).map(|_| ())
    }

    /// Stops the machine's time, as a host that hangs does.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn freeze(&self) -> Result {
        monitor(&self.file("qmp"), "stop", json!({})).map(|_| ())
    }

    /// Undoes [`Node::freeze`].
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn thaw(&self) -> Result {
        monitor(&self.file("qmp"), "cont", json!({})).map(|_| ())
    }

    /// Runs a command and says how it ended.
    ///
    /// # Errors
    /// When the node does not answer in [`PATIENCE`], or there is no such command.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_with(argv, &[], &[], PATIENCE)
    }

    /// As [`Node::run`], with additions to the environment, standard input and a limit.
    ///
    /// # Errors
    /// As [`Node::run`].
    pub fn run_with(
        &self,
        argv: &[&str],
        env: &[(&str, &str)],
        stdin: &[u8],
        limit: Duration,
    ) -> Result<Output> {
        let request = Request::Run {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            stdin: stdin.len() as u64,
        };
        let (answer, out, err) =
            self.ask(&request, stdin, limit).doing(format_args!("{}: {argv:?}", self.plan.name))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { code: answer.code, out: text(out), err: text(err) })
    }

    /// Runs a line of shell.
    ///
    /// # Errors
    /// As [`Node::run`].
    pub fn sh(&self, line: &str) -> Result<Output> {
        self.run(&["bash", "-c", line])
    }

    /// Runs a line of shell that must succeed, and gives its output without the last line's end.
    ///
    /// # Errors
    /// When it fails, with all that it said.
    pub fn must(&self, line: &str) -> Result<String> {
        let output = self.sh(line)?;
        if output.ok() {
            return Ok(output.out.trim_end_matches('\n').to_owned());
        }
        let Output { code, out, err } = output;
        Err(failed(format!("{}: `{line}` ended with {code}\n{out}{err}", self.plan.name)))
    }

    /// True if this line of shell succeeds; false also if the node does not answer.
    #[must_use]
    pub fn says(&self, line: &str) -> bool {
        self.sh(line).is_ok_and(|output| output.ok())
    }

    /// Writes a file; directories above it are made.
    ///
    /// # Errors
    /// When the node cannot.
    pub fn put(&self, path: &str, mode: u32, content: &[u8]) -> Result {
        let request = Request::Put { path: path.to_owned(), mode, bytes: content.len() as u64 };
        self.ask(&request, content, PATIENCE).doing(format_args!("{}: {path}", self.plan.name)).map(|_| ())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When the node cannot.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        let request = Request::Get { path: path.to_owned() };
        self.ask(&request, &[], PATIENCE)
            .doing(format_args!("{}: {path}", self.plan.name))
            .map(|(_, out, _)| out)
    }

    /// True if something is mounted exactly there.
    #[must_use]
    pub fn mounted(&self, directory: &str) -> bool {
        self.get("/proc/self/mountinfo").is_ok_and(|text| {
            String::from_utf8_lossy(&text).lines().any(|line| line.split(' ').nth(4) == Some(directory))
        })
    }

    fn ask(&self, request: &Request, body: &[u8], limit: Duration) -> Result<(Answer, Vec<u8>, Vec<u8>)> {
        let port = self.port().ok_or_else(|| failed("the node is off"))?;
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))?;
        let mut writer = &connection;
        wire::send(&mut writer, request)?;
        writer.write_all(body)?;
        let mut reader = BufReader::new(&connection);
        let answer: Answer = wire::receive(&mut reader).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => failed(format!("no answer within {} s", limit.as_secs())),
            ErrorKind::UnexpectedEof => failed("the node hung up"),
            _ => error.into(),
        })?;
        if let Some(error) = answer.error {
            return Err(failed(error));
        }
        let out = wire::body(&mut reader, answer.out)?;
        let err = wire::body(&mut reader, answer.err)?;
        Ok((answer, out, err))
    }

    fn file(&self, what: &str) -> PathBuf {
        self.directory.join(format!("node{}.{what}", self.number))
    }

    fn power(&self) -> MutexGuard<'_, Option<(Owned, u16)>> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
