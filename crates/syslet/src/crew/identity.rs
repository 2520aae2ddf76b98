//! Who a kernel thread is to the kernel: ids, capabilities, sandbox.

use std::fmt;
use std::fs;
use std::io;

use syslet_sys::call;

/// Most supplementary groups that a home can take over; more are rare, and refused at attach.
pub(super) const MAX_GROUPS: usize = 1024;

/// The ids of one kernel thread, in memory of fixed size: a signal handler fills it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    users: [u32; 3],
    group_ids: [u32; 3],
    groups: [u32; MAX_GROUPS],
    group_count: usize,
}

impl Ids {
    pub(super) const fn none() -> Self {
        Self { users: [0; 3], group_ids: [0; 3], groups: [0; MAX_GROUPS], group_count: 0 }
    }

    /// Those of the running kernel thread.
    ///
    /// # Errors
    ///
    /// Those of getgroups(2), above all that there are more than [`MAX_GROUPS`].
    pub(super) fn of_this_thread() -> io::Result<Self> {
        let mut ids = Self::none();
        ids.users = call::user_ids();
        ids.group_ids = call::group_ids();
        let count = call::groups(&mut ids.groups);
        ids.group_count =
            usize::try_from(count).map_err(|_| io::Error::from_raw_os_error(-count as i32))?;
        Ok(ids)
    }

    fn groups(&self) -> &[u32] {
        self.groups.get(..self.group_count).unwrap_or(&[])
    }

    /// Gives these ids to the running kernel thread. Groups first: the right to set them may go
    /// with the user id.
    pub(super) fn take_over(&self) -> bool {
        let Ok(now) = Self::of_this_thread() else { return false };
        (now.groups() == self.groups() || call::set_groups(self.groups()) == 0)
            && (now.group_ids == self.group_ids || call::set_group_ids(self.group_ids) == 0)
            && (now.users == self.users || call::set_user_ids(self.users) == 0)
    }
}

/// A thread of the process is not who the calling thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityMismatch {
    /// Kernel thread that differs.
    pub tid: i32,
    /// Its name.
    pub name: String,
    /// Field of `/proc/self/task/TID/status` that differs, such as `Uid` or `Seccomp`.
    pub field: String,
    /// What the calling kernel thread has.
    pub expected: String,
    /// What that thread has.
    pub found: String,
}

impl fmt::Display for IdentityMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "thread {} ({}) has {} `{}`, the calling thread has `{}`",
            self.tid, self.name, self.field, self.found, self.expected
        )
    }
}

impl std::error::Error for IdentityMismatch {}

/// Fields of proc_pid_status(5) that say who a thread is and what it may do.
const FIELDS: [&str; 11] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
];

/// A thread's name, and what is compared, field by field.
type Identity = (String, Vec<(&'static str, String)>);

/// The fields of `status`.
fn status(tid: &str) -> io::Result<Identity> {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status"))?;
    let value = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let all = FIELDS.iter().filter_map(|field| Some((*field, value(field)?))).collect();
    Ok((value("Name").unwrap_or_default(), all))
}

/// Links beside it that say in which namespaces(7) a thread is.
const NAMESPACES: [&str; 2] = ["ns/net", "ns/pid_for_children"];
/// Those that say where it is, and which files it sees. A thread that is in another mount namespace has parted with
/// the others' root and working directory: unshare(2), setns(2).
const PLACES: [&str; 3] = ["ns/mnt", "root", "cwd"];

/// Adds what the links say. One that cannot be read is compared too: for threads of one process that is so for all
/// or none.
fn add_links(all: &mut Vec<(&'static str, String)>, tid: &str, links: &[&'static str]) {
    for link in links {
        let target = fs::read_link(format!("/proc/self/task/{tid}/{link}")).unwrap_or_default();
        all.push((link, target.to_string_lossy().into_owned()));
    }
}

/// True if a link says that the thread ends: the kernel takes them from it before it takes it from the list, on which
/// a main thread stays for as long as others live.
fn is_gone((field, own): &(&'static str, String), (_, theirs): &(&'static str, String)) -> bool {
    let is_link = NAMESPACES.contains(field) || PLACES.contains(field);
    is_link && theirs.is_empty() && !own.is_empty()
}

/// Those fields, namespaces, and root and working directory if they may differ.
///
/// Not the user namespace: the kernel changes that of a process with one thread only.
fn fields(tid: &str, with_places: bool) -> io::Result<Identity> {
    let (name, mut all) = status(tid)?;
    add_links(&mut all, tid, &NAMESPACES);
    if with_places {
        add_links(&mut all, tid, &PLACES);
    }
    Ok((name, all))
}

/// Names the first field in which the running kernel thread differs from thread `tid`. Where `/proc` cannot be read,
/// nothing can be said, and nothing is.
pub(super) fn difference_from(tid: u32) -> Option<&'static str> {
    let places = !call::shares_place(tid as i32);
    let (_, own) = fields(&call::gettid().to_string(), places).ok()?;
    let (_, theirs) = fields(&tid.to_string(), places).ok()?;
    own.iter().zip(&theirs).find(|(a, b)| a != b).map(|((field, _), _)| *field)
}

/// Compares the identity of every thread of the process with that of the calling kernel thread: ids,
/// groups, capabilities, `no_new_privs`, seccomp, namespaces, root and working directory.
///
/// A program that sandboxes itself after it has first used the library would leave crew threads outside the
/// sandbox, and a handoff would lead out of it. Call this after sandboxing to see that every thread
/// has followed. (What the kernel does not show, such as Landlock domains, cannot be compared.)
/// With `SYSLET_CHECK_IDENTITY=1` in the environment each handoff compares the two threads that it is between, and
/// ends the program if they differ.
///
/// # Errors
///
/// `Ok(Err(mismatch))` names the first thread that differs and the field. An outer error means that
/// `/proc` could not be read; treat it as a failed check.
///
/// # Blocking
///
/// Reads `/proc`: takes some ten microseconds a thread, and does not wait.
pub fn check_identity() -> io::Result<Result<(), IdentityMismatch>> {
    let own = call::gettid().to_string();
    let (_, expected) = fields(&own, true)?;
    for task in fs::read_dir("/proc/self/task")? {
        let tid = task?.file_name().to_string_lossy().into_owned();
        let (name, found) = match fields(&tid, true) {
            Ok(found) => found,
            // It has ended since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut pairs = expected.iter().zip(&found);
        if pairs.clone().any(|(own, theirs)| is_gone(own, theirs)) {
            continue;
        }
        let differing = pairs.find(|(a, b)| a != b);
        if let Some(((field, expected), (_, found))) = differing {
            return Ok(Err(IdentityMismatch {
                tid: tid.parse().unwrap_or(0),
                name,
                field: (*field).to_owned(),
                expected: expected.clone(),
                found: found.clone(),
            }));
        }
    }
    Ok(Ok(()))
}
