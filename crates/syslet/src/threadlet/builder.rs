//! Threadlets with a name, or elsewhere from the start.

use super::Threadlet;
use super::run::{launch, launch_elsewhere};
use crate::SubmitError;
use crate::complete::Outcome;

/// How a threadlet is to run.
///
/// ```
/// let sum = syslet::Builder::new()
///     .name("sum")
///     .elsewhere()
///     .launch(|| (0..1_000_000u64).sum::<u64>());
/// assert_eq!(sum.join(), 499_999_500_000);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    name: Option<String>,
    elsewhere: bool,
}

impl Builder {
    /// As [`threadlet`](crate::threadlet()) does it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name, cut to 15 bytes, which the kernel thread bears while it runs the closure: for `top -H`
    /// and debuggers. Only together with [`elsewhere`](Self::elsewhere): naming a thread costs as much
    /// as a small call.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Never inline: for work that is known to compute for long.
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// Starts the closure.
    ///
    /// # Panics
    ///
    /// If not even one crew thread can be made.
    ///
    /// # Blocking
    ///
    /// As [`threadlet`](crate::threadlet()).
    pub fn launch<T, F>(self, f: F) -> Threadlet<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.start(f, false) {
            Ok(threadlet) => threadlet,
            Err(_) => unreachable!("only `try_launch` gives the closure back"),
        }
    }

    /// Starts the closure, or gives it back if no crew thread is left.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Busy`] with the closure, which has not run.
    ///
    /// # Blocking
    ///
    /// As [`threadlet`](crate::threadlet()).
    pub fn try_launch<T, F>(self, f: F) -> Result<Threadlet<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(f, true).map_err(SubmitError::Busy)
    }

    fn start<T, F>(self, f: F, or_busy: bool) -> Result<Threadlet<T>, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.elsewhere {
            return launch(f, |_| (), or_busy, Outcome::owned).map(Threadlet::new);
        }
        let Some(name) = self.name else {
            return launch_elsewhere(f, |_| (), or_busy, Outcome::owned).map(Threadlet::away);
        };
        let engine_full = or_busy && crate::crew::engine().is_some_and(|e| !e.has_room());
        if engine_full {
            return Err(f);
        }
        let named = move || {
            name_thread(&name);
            let _unname = Unname;
            f()
        };
        match launch_elsewhere(named, |_| (), false, Outcome::owned) {
            Ok(slot) => Ok(Threadlet::away(slot)),
            Err(_) => unreachable!("the closure is given back only if asked for"),
        }
    }
}

/// Names the running kernel thread.
fn name_thread(name: &str) {
    let mut bytes = [0; 16];
    let cut = name.floor_char_boundary(15);
    bytes[..cut].copy_from_slice(&name.as_bytes()[..cut]);
    syslet_sys::call::set_name(&bytes);
}

/// Gives a crew thread its usual name back, also after a panic.
struct Unname;

impl Drop for Unname {
    fn drop(&mut self) {
        name_thread("syslet-crew");
    }
}
