//! Another process of the program, started as this one was: what SIGUSR2 asks for.

use std::{
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

/// What a new process is told so that it takes over.
const UPGRADE: &str = "--upgrade";

/// How this process was started.
#[derive(Debug)]
pub(super) struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
}

// === impl Successor ===

impl Successor {
    /// To be called at the start: once the program file is replaced, the system knows the old one only.
    ///
    /// # Errors
    /// If the system doesn't tell where the program file is.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let arguments = env::args_os().skip(1).filter(|argument| argument != UPGRADE).chain([UPGRADE.into()]);
        Ok(Self { program: env::current_exe()?, arguments: arguments.collect() })
    }

    /// Starts the program file that has this place now. If it ends while this process is there to see it, that is logged.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        // It names this process, and the new one is asked for signs of life as well (sd_watchdog_enabled(3)).
        command.args(&self.arguments).env_remove("WATCHDOG_PID").stdin(Stdio::null());
        let mut child = command.spawn()?;
        tracing::info!(process = child.id(), program = %self.program.display(), "a new process was started to take over");
        thread::Builder::new().name("successor".to_owned()).spawn(move || {
            let process = child.id();
            match child.wait() {
                Ok(status) => tracing::error!(process, %status, "the process that was to take over has ended"),
                Err(error) => tracing::error!(process, %error, "the process that was to take over can't be watched"),
            }
        })?;
        Ok(())
    }
}
