//! Processes of their own.

#![allow(unsafe_code, reason = "fork(2)")]

/// Runs `act` in a process of its own, which answers whether all is right.
pub(crate) fn in_child(act: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child has what its parent's thread had, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or(false);
        // SAFETY: ends the child.
        unsafe { libc::_exit(if right { 0 } else { 1 }) };
    }
    pid
}

/// The next that is to be said of the child.
pub(crate) fn status(pid: libc::pid_t) -> i32 {
    let mut status = -1;
    loop {
        // SAFETY: writes the status.
        let waited = unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
        if waited == pid {
            return status;
        }
        // The handler of another test's signal, which may interrupt.
        assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
    }
}
