//! `lab shell`: a login shell on a terminal of its own.

use lab::{Doing, Result};
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

/// Returns when the shell ends or the host hangs up.
pub fn serve(connection: &TcpStream, term: &str, rows: u16, columns: u16) -> Result {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(&size, None).doing("opening a terminal")?;
    let mut shell = Command::new("setsid")
        .args(["--ctty", "--wait", "bash", "-l"])
        .env("TERM", term)
        .stdin(Stdio::from(pair.slave.try_clone()?))
        .stdout(Stdio::from(pair.slave.try_clone()?))
        .stderr(Stdio::from(pair.slave))
        .spawn()
        .doing("starting a shell")?;
    let mut keyboard = File::from(pair.master.try_clone()?);
    let mut screen = File::from(pair.master);
    let mut typed = connection.try_clone()?;
    let mut shown = connection.try_clone()?;
    thread::spawn(move || copy(&mut typed, &mut keyboard));
    // Reading ends with EIO when the last process on the terminal is gone.
    thread::spawn(move || {
        copy(&mut screen, &mut shown);
        let _ = shown.shutdown(Shutdown::Both);
    });
    shell.wait()?;
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        match buffer.get(..count) {
            Some(bytes) if count > 0 && to.write_all(bytes).is_ok() => {}
            _ => return,
        }
    }
}
