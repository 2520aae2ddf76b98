//! Calls that some sandboxes and kernels refuse, and what is done without them.

use std::thread;

use syslet_sys::uapi::EBADF;
use syslet_sys::{aio, call, descriptor};

/// A call that the library uses where it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// The call.
    pub call: &'static str,
    /// What is done with it.
    pub purpose: &'static str,
    /// What is done without it.
    pub otherwise: &'static str,
    /// `None` if it is allowed; otherwise the error number.
    pub refused: Option<i32>,
}

/// Asks for each, on a thread that has descriptors of its own. None are known if no thread can be made.
pub(crate) fn allowances() -> Vec<Allowance> {
    let asking = thread::Builder::new().name("syslet-probe".into()).spawn(ask);
    asking.map_or_else(|_| Vec::new(), |asking| asking.join().unwrap_or_default())
}

fn ask() -> Vec<Allowance> {
    // First: what is opened below is in a table then that goes with this thread.
    let table = descriptor::own_table();
    let context = aio::Context::new(1);
    let process = descriptor::open_process(call::getpid());
    // Taking a number that is not open is refused as that, if taking is allowed.
    let taken = match descriptor::take_from(process as i32, -1) {
        _ if process < 0 => process,
        answer if answer == -EBADF => 0,
        answer => answer,
    };
    let compared = descriptor::compare(process as i32, call::gettid(), process as i32);
    if table < 0 && process >= 0 {
        call::close(process as i32);
    }
    let created = match context {
        Ok(context) => {
            context.destroy();
            0
        }
        Err(answer) => answer,
    };
    [
        ("io_setup", "parked calls are kept by the kernel", "a thread of ours keeps them", created),
        ("close_range", "our descriptors are not the program's", "each call has a thread", table),
        (
            "pidfd_getfd",
            "parked calls outlive their numbers",
            "they end with them, unless files are held at once",
            taken,
        ),
        ("kcmp", "reused numbers are found by open file", "they are by inode", compared),
    ]
    .map(|(call, purpose, otherwise, answer)| Allowance {
        call,
        purpose,
        otherwise,
        refused: (answer < 0).then_some(-answer as i32),
    })
    .into()
}
