//! A process that ends with whoever started it, whatever becomes of that one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use super::until;

/// The shell becomes the program. What it leaves behind waits for the end of its standard input, which is ours to close
/// and is closed when we die, and then kills the program, unless it has ended and its number is another's.
const GUARD: &str = r#"
born() { cut -d' ' -f22 "/proc/$$/stat" 2>/dev/null; }
started=$(born)
exec 3<&0 # what runs in the background gets another standard input
{ cat <&3; [ "$(born)" = "$started" ] && kill -9 $$; } >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// A running program; dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// The command for a program that [`Process::start`] can guard.
pub(crate) fn guarded(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).arg(program.as_ref()).stdin(Stdio::piped());
    command
}

// === impl Process ===

impl Process {
    /// Starts what [`guarded`] made; what it prints goes into files in `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.join(name));
        let file = |path: &Path| File::create(path).expect("the folder can be written");
        let child = command.stdout(file(&stdout)).stderr(file(&stderr)).spawn().expect("sh can be started");
        Self { child, stdout, stderr }
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).expect("it was made at the start")
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).expect("it was made at the start")
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill can be started").success(), "SIG{name}");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of this process")
    }

    /// Waits for its end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        until("a process ends", || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard kills it, before it is waited for: until then its number is nobody else's.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
