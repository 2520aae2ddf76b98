//! Reasons that several calls share. Those of a single call stand in its row.

pub(super) const CREDENTIALS: &str =
    "the raw call changes one kernel thread only; the C library's wrapper tells every thread";
pub(super) const CAPABILITIES: &str = "capabilities belong to one kernel thread";
pub(super) const CLONES: &str =
    "the child would be a copy of the kernel thread that makes the call, not of the caller";
pub(super) const EXECS: &str =
    "it replaces the program, and waits for every other thread to be gone before it does";
pub(super) const IO_PRIORITY: &str = "the I/O priority belongs to one kernel thread";
pub(super) const KEYRINGS: &str = "it searches the keyrings of the calling kernel thread";
pub(super) const LSM: &str = "security attributes belong to one kernel thread";
pub(super) const NAMESPACES: &str = "it moves one kernel thread only into another namespace";
pub(super) const NICE: &str = "the nice value belongs to one kernel thread";
pub(super) const NUMA: &str = "the memory policy belongs to one kernel thread";
pub(super) const OWN_CHILDREN: &str = "__WNOTHREAD means the children of the calling kernel thread";
pub(super) const PORTS: &str = "I/O port permissions belong to one kernel thread";
pub(super) const ROBUST: &str = "the robust-mutex list belongs to one kernel thread";
pub(super) const SCHEDULING: &str =
    "scheduling attributes belong to one kernel thread, and process 0 means the calling one";
pub(super) const SIGNAL_MASK: &str = "signal mask and pending signals belong to one kernel thread";
pub(super) const UPROBES: &str =
    "only the code that the kernel puts into a probed program may make it";
