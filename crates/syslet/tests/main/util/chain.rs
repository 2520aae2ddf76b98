//! Chains, and the files that their steps open.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use syslet::{Arg, Call, Chain, ChainResult, PendingChain, StepId, SubmittedChain, When};

use super::calls::{Block, Counter};

/// What is added to an eventfd.
static ONE: [u8; 8] = 1u64.to_ne_bytes();

/// A file in the temporary directory.
#[derive(Debug)]
pub(crate) struct NamedFile {
    path: PathBuf,
    /// The path, for the kernel.
    name: &'static Block,
}

impl NamedFile {
    pub(crate) fn with(bytes: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("syslet-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        let name = Block::with(path.to_str().expect("the path is text").as_bytes());
        Self { path, name }
    }

    /// Adds the step that opens it.
    pub(crate) fn open(&self, chain: &mut Chain) -> StepId {
        open(chain, self.name.address())
    }
}

impl Drop for NamedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a file left behind is not worth a panic
    }
}

/// Adds the step that opens the file whose name is at `path`, for reading.
pub(crate) fn open(chain: &mut Chain, path: usize) -> StepId {
    let here = libc::AT_FDCWD as usize;
    step(chain, libc::SYS_openat, [here.into(), path.into(), (libc::O_CLOEXEC as usize).into()])
}

/// Adds a step.
pub(crate) fn step<const N: usize>(chain: &mut Chain, nr: i64, args: [Arg; N]) -> StepId {
    chain.push(nr as usize, args)
}

/// Adds a call whose arguments are numbers.
pub(crate) fn add(chain: &mut Chain, call: Call) -> StepId {
    let args: [Arg; 6] = std::array::from_fn(|at| call.args()[at].into());
    chain.push(call.nr(), args)
}

/// Adds the step that closes what another has made.
pub(crate) fn close(chain: &mut Chain, made: StepId) -> StepId {
    step(chain, libc::SYS_close, [made.into()])
}

/// Adds the step that counts.
pub(crate) fn count(chain: &mut Chain, counter: &Counter) -> StepId {
    add(chain, super::calls::write_call(counter.fd(), &ONE))
}

/// A step whose result has this sign: a file position, or an error.
pub(crate) fn signed(chain: &mut Chain, fd: i32, sign: isize) -> StepId {
    let (fd, offset) = match sign {
        -1 => (-1, 0),
        sign => (fd, sign as usize * 5),
    };
    step(
        chain,
        libc::SYS_lseek,
        [(fd as usize).into(), offset.into(), (libc::SEEK_SET as usize).into()],
    )
}

/// The handle of a chain that is expected to wait.
pub(crate) fn pending(submitted: SubmittedChain) -> PendingChain {
    match submitted {
        SubmittedChain::Pending(pending) => pending,
        SubmittedChain::Done(result) => panic!("the chain is over: {result:?}"),
    }
}

/// The answers of the steps.
pub(crate) fn answers<const N: usize>(
    result: &ChainResult,
    steps: [StepId; N],
) -> [Option<isize>; N] {
    steps.map(|step| result.ret(step).map(|ret| ret.raw()))
}

/// All conditions, and the signs of results for which they hold.
pub(crate) const CONDITIONS: [(When, &[isize]); 5] = [
    (When::Nonzero, &[-1, 1]),
    (When::Zero, &[0]),
    (When::Negative, &[-1]),
    (When::NonPositive, &[-1, 0]),
    (When::Always, &[-1, 0, 1]),
];

/// A step that closes no descriptor and fails.
pub(crate) fn close_nothing(chain: &mut Chain) -> StepId {
    step(chain, libc::SYS_close, [usize::MAX.into()])
}
