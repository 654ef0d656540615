//! What a place is mounted from: whether what is written there stays when a container, a pod or the machine ends, and
//! who else can come by it.

use std::path::{Path, PathBuf};

/// What a directory ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fleeting {
    /// It is in memory.
    Memory,
    /// It is in the layer that a container writes to.
    Container,
    /// It is a volume that Kubernetes makes for a pod.
    Pod,
}

impl Fleeting {
    /// What it is, and what it ends with.
    pub fn words(self) -> &'static str {
        match self {
            Self::Memory => "is in memory (tmpfs) and ends with this machine, container or pod",
            Self::Container => {
                "is in this container's own layer (overlay) and ends with the container"
            }
            Self::Pod => "is an emptyDir and ends with this pod",
        }
    }
}

/// The volume for state that the injector gives a pod, and mounts for the sidecar alone.
const INJECTED: &str = "kubernetes.io~empty-dir/lunasec-state";

/// Whether a file is a secret that something mounted for this container: in memory, and nobody here can write to it. Of
/// these, as of a Kubernetes Secret, the modes say nothing: the files are root's and everybody's to read, and the mount
/// is what others do not have.
pub fn is_mounted_secret(file: &Path) -> bool {
    mount(file).is_some_and(|mount| mount.is_secret())
}

/// Whether a directory is the injector's volume, into which no other container of the pod writes, whatever its mode is.
pub fn is_injected_volume(directory: &Path) -> bool {
    mount(directory).is_some_and(|mount| mount.root.ends_with(INJECTED))
}

/// What ends what is in a directory, which need not be there yet; none where it stays, or nobody can say.
pub fn fleeting(directory: &Path) -> Option<Fleeting> {
    mount(directory)?.fleeting()
}

fn mount(place: &Path) -> Option<Mount> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    of(&mounts, &resolved(place)?)
}

/// As the kernel would find it: links are followed as far as there is anything.
fn resolved(directory: &Path) -> Option<PathBuf> {
    let directory = std::path::absolute(directory).ok()?;
    let there = directory.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let (part, resolved) = there?;
    Some(resolved.join(directory.strip_prefix(part).ok()?))
}

/// One line of `/proc/self/mountinfo`.
struct Mount {
    /// What of a file system is mounted.
    root: String,
    /// Where.
    point: PathBuf,
    /// Whether nobody can write to it there.
    read_only: bool,
    /// Of the file system.
    kind: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (unescaped(place.next()?), unescaped(place.next()?).into());
        let read_only = place.next()?.split(',').any(|option| option == "ro");
        Some(Self { root, point, read_only, kind: system.split(' ').next()?.to_owned() })
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }

    fn is_secret(&self) -> bool {
        self.read_only && self.is_in_memory()
    }

    fn fleeting(&self) -> Option<Fleeting> {
        match self.kind.as_str() {
            _ if self.is_in_memory() => Some(Fleeting::Memory),
            "overlay" | "aufs" => Some(Fleeting::Container),
            _ if self.root.contains("kubernetes.io~empty-dir") => Some(Fleeting::Pod),
            _ => None,
        }
    }
}

/// The innermost mount decides; of several at one place, the last.
fn of(mounts: &str, place: &Path) -> Option<Mount> {
    let mounts = mounts.lines().filter_map(Mount::parse);
    let above = mounts.filter(|mount| place.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

/// A space, a tab, an end of line and a backslash are three octal digits there.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\\');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "\
21 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
30 28 0:25 / /run rw,nosuid shared:12 - tmpfs tmpfs rw,size=1632796k
31 28 0:26 / /tmp rw shared:13 master:4 - tmpfs tmpfs rw
40 28 259:3 /lunasec /var/lib/lunasec rw shared:20 - xfs /dev/nvme1n1 rw
41 28 0:40 / /mnt/my\\040disk\\134a rw - tmpfs tmpfs rw
";

    const POD: &str = "\
900 800 0:200 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
901 900 0:201 / /dev rw - tmpfs tmpfs rw
910 900 259:1 /var/lib/kubelet/pods/0d3b/volumes/kubernetes.io~empty-dir/state /var/lib/state rw - ext4 /dev/sda1 rw
911 900 0:210 / /var/lib/memory rw - tmpfs tmpfs rw,size=65536k
912 900 259:9 / /var/lib/kept rw - ext4 /dev/sdb rw
913 912 0:211 / /var/lib/kept/inner rw - tmpfs tmpfs rw
914 900 259:9 / /var/lib/memory rw - ext4 /dev/sdb rw
920 900 0:220 / /etc/standby ro,relatime - tmpfs tmpfs rw,size=458752k
921 900 0:221 / /etc/open rw,relatime - tmpfs tmpfs ro
922 900 259:1 /var/lib/kubelet/pods/0d3b/volumes/kubernetes.io~configmap/lunasec /etc/lunasec ro - ext4 /dev/sda1 rw
930 900 259:1 /var/lib/kubelet/pods/0d3b/volumes/kubernetes.io~empty-dir/lunasec-state /var/lib/lunasec rw - ext4 /dev/sda1 rw
";

    #[test]
    fn a_secret_is_in_memory_and_nobody_writes_where_it_is_mounted() {
        let is_secret = |file| of(POD, Path::new(file)).unwrap().is_secret();
        assert!(is_secret("/etc/standby/standby.key"));
        for file in ["/etc/open/key", "/etc/lunasec/key", "/dev/key", "/var/lib/kept/key", "/key"] {
            assert!(!is_secret(file), "{file}");
        }
        assert!(!is_mounted_secret(Path::new("/proc/self/status")), "it is another file system");
    }

    #[test]
    fn the_injectors_volume_is_known_by_its_name() {
        let is_injected = |place| of(POD, Path::new(place)).unwrap().root.ends_with(INJECTED);
        assert!(is_injected("/var/lib/lunasec"));
        assert!(!is_injected("/var/lib/state") && !is_injected("/var/lib/kept"));
        assert!(!is_injected_volume(&std::env::temp_dir()));
    }

    fn all(mounts: &str, expected: &[(&str, Option<Fleeting>)]) {
        for (directory, fleeting) in expected {
            let found = of(mounts, Path::new(directory)).and_then(|mount| mount.fleeting());
            assert_eq!(found, *fleeting, "{directory}");
        }
    }

    #[test]
    fn a_disk_stays_and_memory_does_not() {
        all(
            MACHINE,
            &[
                ("/", None),
                ("/var/lib/lunasec/state", None),
                ("/var/lib/lunasecond", None),
                ("/home/me", None),
                ("/runner/state", None),
                ("/run/lunasec", Some(Fleeting::Memory)),
                ("/tmp", Some(Fleeting::Memory)),
                ("/mnt/my disk\\a/state", Some(Fleeting::Memory)),
            ],
        );
    }

    #[test]
    fn in_a_pod_only_a_volume_stays_and_an_empty_dir_does_not() {
        all(
            POD,
            &[
                ("/var/lib/other", Some(Fleeting::Container)),
                ("/var/lib/lunasec/state", Some(Fleeting::Pod)),
                ("/var/lib/state", Some(Fleeting::Pod)),
                ("/var/lib/state/inner", Some(Fleeting::Pod)),
                ("/var/lib/kept/state", None),
                ("/var/lib/kept/inner/state", Some(Fleeting::Memory)),
                // What was mounted over another.
                ("/var/lib/memory/state", None),
            ],
        );
    }

    #[test]
    fn what_nobody_understands_says_nothing() {
        all("", &[("/var", None)]);
        all("a\nb - \n1 2 3\n - tmpfs\n", &[("/var", None)]);
        assert_eq!(unescaped("a\\040b\\9\\é\\"), "a b\\9\\é\\");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_where_it_will_be() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolved(&real.join("link/new/state")), Some(real.join("new/state")));
    }
}
