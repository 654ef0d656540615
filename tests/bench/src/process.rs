//! What the kernel says of a process, and where it may run.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use rustix::thread::{CpuSet, Pid, sched_setaffinity};

/// Keeps a process, with the threads it will have, on one core.
pub(crate) fn pin(pid: Option<u32>, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let pid = pid.map(|pid| Pid::from_raw(pid.try_into().unwrap()).unwrap());
    sched_setaffinity(pid, &set).unwrap();
    // Threads that run already keep their own affinity.
    if let Some(pid) = pid {
        for task in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap() {
            let id: i32 = task.unwrap().file_name().to_string_lossy().parse().unwrap();
            sched_setaffinity(Pid::from_raw(id), &set).unwrap();
        }
    }
}

/// CPU time that a process has used, by all its threads.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        total += text.split(' ').next().unwrap().parse::<u64>().unwrap();
    }
    Duration::from_nanos(total)
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// How often the process's threads were woken within `time`.
pub(crate) fn wake_ups(pid: u32, time: Duration) -> u64 {
    let switches = || -> u64 {
        fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .map(|text| {
                let line = text.lines().find(|line| line.starts_with("voluntary")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
            })
            .sum()
    };
    let before = switches();
    thread::sleep(time);
    switches() - before
}

/// The processor and what it has.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} ({cores} cores), Linux {}", model.unwrap_or("unknown"), kernel.trim())
}

/// Waits until something listens.
pub(crate) fn wait_for(socket: &Path) {
    for _ in 0..2_000 {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing listens on {}", socket.display());
}

/// This binary again, as the echo.
pub(crate) fn echo(socket: &Path) -> Running {
    let binary = std::env::current_exe().unwrap();
    let child = Command::new(binary).arg("echo").arg(socket).spawn().unwrap();
    wait_for(socket);
    Running(child)
}

/// Killed when dropped.
pub(crate) struct Running(std::process::Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets this process run on every core again.
pub(crate) fn pin_anywhere() {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU.min(64)).for_each(|core| set.set(core));
    sched_setaffinity(None, &set).unwrap();
}

/// What this program says when it is asked for one thing.
pub(crate) fn of_our_own(argument: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own).arg(argument).output().unwrap();
    assert!(output.status.success(), "{argument}");
    String::from_utf8(output.stdout).unwrap()
}
