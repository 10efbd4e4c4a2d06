//! A container without an engine: namespaces, a read-only root made from the Dockerfile, the writable mounts of the platform.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::world::process::wait_for;

/// What the platform lets the pod write.
const WRITABLE: [&str; 4] = ["var/run/kafka_consumer", "app/logs", "tmp", "data/automation_consumer"];
/// What the platform mounts for reading.
const MOUNTED: [&str; 2] = ["app/config", "var/run/athenz"];

/// Mounts and enters the root; `$1` is the root, `$2` the folder with what is mounted, the rest what is run.
const ENTER: &str = r#"
root=$1 outside=$2 user=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
for place in var/run/kafka_consumer app/logs tmp data/automation_consumer app/config var/run/athenz; do
  mount --bind "$outside/$place" "$root/$place"
done
mount --bind "$outside/etc/resolv.conf" "$root/etc/resolv.conf"
mount -o remount,bind,ro "$root/etc/resolv.conf"
mount -o remount,bind,ro "$root/app/config"
mount -o remount,bind,ro "$root/var/run/athenz"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec env -i "$@"
"#;

/// Whether this machine lets us; says loudly why not.
pub(super) fn possible() -> bool {
    let tried = Command::new("unshare").args(["-m", "-p", "-f", "chroot", "/", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => true,
        other => {
            let line =
                format!("\n!!! the test in the image's root was SKIPPED: namespaces and chroot need root: {other:?}\n");
            if std::fs::write("/dev/tty", &line).is_err() {
                eprintln!("{line}");
            }
            false
        }
    }
}

/// The image as a folder, and a folder for what is mounted into it.
pub(super) struct Image {
    root: PathBuf,
    outside: PathBuf,
    settings: Value,
}

impl Image {
    /// Built by `tools/scratch-root`; a static binary is taken from `STATIC_BINARY`, else the one under test with its libraries.
    pub(super) fn build(folder: &Path) -> Self {
        let (root, outside) = (folder.join("root"), folder.join("outside"));
        let given = std::env::var_os("STATIC_BINARY").map(PathBuf::from);
        let binary = given.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_kafka_consumer").into());
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/scratch-root");
        let output = Command::new(tool).arg(&binary).arg(&root).output().expect("tools/scratch-root");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if given.is_none() {
            libraries(&binary, &root);
        }
        // What every engine adds: the places of its own mounts.
        for place in ["proc", "var/run/athenz"] {
            std::fs::create_dir_all(root.join(place)).expect("a mount point");
        }
        for place in WRITABLE.iter().chain(&MOUNTED) {
            std::fs::create_dir_all(outside.join(place)).expect("a folder");
        }
        for side in [&root, &outside] {
            std::fs::create_dir_all(side.join("etc")).expect("a folder");
            std::fs::write(side.join("etc/resolv.conf"), "").expect("a mount point");
        }
        for place in WRITABLE {
            std::os::unix::fs::chown(outside.join(place), Some(1000), Some(1000)).expect("given to the user");
        }
        Self { root, outside, settings: serde_json::from_slice(&output.stdout).expect("settings") }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file that is mounted, by its path in the image.
    pub(super) fn put(&self, path: &str, text: &str) {
        std::fs::write(self.outside.join(path.trim_start_matches('/')), text).expect("written");
    }

    /// The same by a rename.
    pub(super) fn replace(&self, path: &str, text: &str) {
        let draft = format!("{path}.new");
        self.put(&draft, text);
        let at = |path: &str| self.outside.join(path.trim_start_matches('/'));
        std::fs::rename(at(&draft), at(path)).expect("renamed");
    }

    /// What was written to a file of a writable mount.
    pub(super) fn written(&self, path: &str) -> String {
        std::fs::read_to_string(self.outside.join(path.trim_start_matches('/'))).expect("a file")
    }

    pub(super) fn setting(&self, name: &str) -> &Value {
        &self.settings[name]
    }

    fn user(&self) -> &str {
        self.settings["user"].as_str().expect("a user")
    }

    /// Runs the entry point as process 1 of a new PID namespace.
    pub(super) fn start(&self, variables: &[&str]) -> Container<'_> {
        let log = File::create(self.outside.join("log")).expect("a log");
        let environment = self.settings["environment"].as_object().expect("variables");
        let environment = environment.iter().map(|(name, value)| format!("{name}={}", value.as_str().expect("text")));
        let entry = self.settings["entrypoint"][0].as_str().expect("an entry point");
        let child = Command::new("unshare")
            .args(["-m", "-p", "-f", "--kill-child", "sh", "-euc", ENTER, "enter"])
            .args([&self.root, &self.outside])
            .arg(self.user())
            .args(environment)
            .args(variables)
            .args(["/usr/sbin/chroot", &format!("--userspec={}", self.user())])
            .arg(&self.root)
            .arg(entry)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("unshare");
        Container { image: self, child }
    }
}

/// The dynamic libraries of a binary that is not static, so that it runs in an empty root.
fn libraries(binary: &Path, root: &Path) {
    let said = Command::new("ldd").arg(binary).output().expect("ldd");
    for path in String::from_utf8_lossy(&said.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        std::fs::copy(path, target).expect("copied");
    }
}

/// A running image. Killed when dropped.
pub(super) struct Container<'a> {
    image: &'a Image,
    child: Child,
}

impl Container<'_> {
    /// Process 1 of the container, as this machine numbers it.
    pub(super) fn first_process(&self) -> i32 {
        let id = self.child.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let first = || std::fs::read_to_string(&path).ok()?.split_whitespace().next()?.parse().ok();
        wait_for(|| "process 1".to_owned(), std::time::Duration::from_secs(10), first)
    }

    /// Runs one of its programs inside, as `kubectl exec` does.
    pub(super) fn exec(&self, program: &str) -> Output {
        self.exec_with(program, &[])
    }

    /// The same with arguments.
    pub(super) fn exec_with(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["-t", &self.first_process().to_string(), "-m", "-p", "env", "-i", "/usr/sbin/chroot"])
            .arg(format!("--userspec={}", self.image.user()))
            .arg(&self.image.root)
            .arg(program)
            .args(arguments)
            .output()
            .expect("nsenter")
    }

    /// Everything it has said.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.image.outside.join("log")).unwrap_or_default()
    }

    /// Waits for its end and gives the exit code.
    pub(super) fn wait_end(&mut self, patience: std::time::Duration) -> Option<i32> {
        let child = &mut self.child;
        wait_for(|| "its end".to_owned(), patience, || child.try_wait().expect("its state")).code()
    }

    /// A signal to process 1, as the platform sends it.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.first_process()).expect("a PID");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
