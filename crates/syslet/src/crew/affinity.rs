//! Sets of CPUs.

use std::fmt;
use std::io;

use syslet_sys::call;

/// Most CPUs that are told apart. A kernel with more rejects the shorter mask, and attaching says so.
pub(crate) const MAX_CPUS: usize = 1024;

/// A set of CPUs: what a thread may run on (sched_setaffinity(2)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CpuSet([u64; MAX_CPUS / 64]);

impl CpuSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self([0; MAX_CPUS / 64])
    }

    /// The set of one CPU. CPUs from 1024 on are left out.
    pub fn single(cpu: usize) -> Self {
        let mut set = Self::new();
        set.insert(cpu);
        set
    }

    /// Adds a CPU. CPUs from 1024 on are left out.
    pub fn insert(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// True if `cpu` is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word & (1 << (cpu % 64)) != 0)
    }

    /// The CPUs of the set, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MAX_CPUS).filter(|&cpu| self.contains(cpu))
    }

    /// What the running kernel thread may run on.
    pub(crate) fn of_this_thread() -> io::Result<Self> {
        let mut set = Self::new();
        match call::affinity(0, &mut set.0) {
            r if r < 0 => Err(io::Error::from_raw_os_error(-r as i32)),
            _ => Ok(set),
        }
    }

    /// As [`apply`](Self::apply) for the running kernel thread, for code without thread-locals.
    pub(super) fn apply_raw(&self) -> isize {
        call::set_affinity(0, &self.0)
    }

    /// Lets kernel thread `tid` (0: this one) run on this set only.
    pub(crate) fn apply(&self, tid: i32) -> io::Result<()> {
        match call::set_affinity(tid, &self.0) {
            r if r < 0 => Err(io::Error::from_raw_os_error(-r as i32)),
            _ => Ok(()),
        }
    }
}

impl Default for CpuSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut set = Self::new();
        cpus.into_iter().for_each(|cpu| set.insert(cpu));
        set
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
