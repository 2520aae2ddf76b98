//! Attaching a thread: settings, guard, and what the thread knows of it. `transfer.rs` has the way over.

#![allow(unsafe_code, reason = "guest records are handed out by raw pointers")]

use std::cell::Cell;
use std::mem::ManuallyDrop;

use syslet_sys::{arch, call};

use super::affinity::CpuSet;
use super::engine::{DEFAULT_STACK, Engine, MAX_CREW, MIN_CREW, Settings, engine, start};
use super::guard::AttachGuard;
use super::guest::Guest;
use super::mechanism::{self, Unsupported};
use super::transfer::{acquire_crew, detach, go, lasting_difference};
use super::{identity, local, rseq};
use crate::AttachError;
use crate::sync::Ordering;

/// Smallest stack of a crew thread, in bytes: handlers and formatted panics need some.
const MIN_STACK: usize = 256 << 10;
/// Largest stack of a crew thread, in bytes. Address space only, but a slip of the pen is caught.
const MAX_STACK: usize = 1 << 30;
/// Where guest and crew run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// The guest runs wherever its own affinity lets it; the crew follows.
    #[default]
    Follow,
    /// Guest and crew run on this CPU only, or attaching is an error if they cannot: for programs
    /// with a thread per core. Threads that the guest starts inherit the restriction.
    Pinned(usize),
}

/// Settings for attaching a thread. If it is attached already they are compared, and the new guard is counted:
///
/// | setting | whose | asked for again with another value |
/// |---|---|---|
/// | [`placement`](Self::placement) | the thread's, until it is detached | [`AttachError::SettingDiffers`]; the pool has none |
/// | [`stack_size`](Self::stack_size) | the process's, for good | [`AttachError::SettingDiffers`], on any thread |
/// | [`max_crew`](Self::max_crew) | what the thread asked for | [`AttachError::SettingDiffers`]; of several threads' the largest is in force |
/// | [`require`](Self::require) | this guard's | an error if the thread's guards stand for the pool |
///
/// What is not asked for (but the placement, which is `Follow` then) is never another value, before or now.
///
/// ```
/// let guard = syslet::Attach::new().max_crew(64).attach()?;
/// let length = syslet::threadlet(|| std::fs::metadata("Cargo.toml").map(|m| m.len())).join()?;
/// assert!(length > 0);
/// drop(guard); // back on the thread's own kernel thread
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Attach {
    placement: Placement,
    max_crew: Option<usize>,
    stack_size: Option<usize>,
    require: bool,
}

impl Attach {
    /// The defaults: [`Placement::Follow`], at most 512 crew threads (or `SYSLET_MAX_CREW`) with
    /// 2 MiB of stack each, and the pool where the mechanism cannot be used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where guest and crew run.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Most crew threads of the process, 2 to 4096. The crew is shared by all guests: the largest
    /// limit that a thread has asked for is in force, so a smaller one than another thread's is no error and changes
    /// nothing.
    pub fn max_crew(mut self, count: usize) -> Self {
        self.max_crew = Some(count);
        self
    }

    /// Stack of each crew thread, in bytes, 256 KiB to 1 GiB. The first that asks decides for the
    /// process.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Makes it an error if the mechanism cannot be used here, instead of falling back to the pool.
    pub fn require(mut self) -> Self {
        self.require = true;
        self
    }

    /// Attaches the calling thread until the guard is dropped.
    ///
    /// On return the code runs on another kernel thread, with the same stack and thread-locals. If
    /// the mechanism cannot be used here, the guard stands for the pool, see
    /// [`AttachGuard::mode`]; threadlets and calls work the same but never run inline.
    ///
    /// A program that sandboxes itself does so before it first uses the library, on any thread: the
    /// crew has the Landlock domain, seccomp filter, namespaces and memory policy of the thread
    /// that did, whoever attaches later. Where such a difference can be seen, attaching is an
    /// error; of Landlock domains and memory policies it cannot.
    ///
    /// # Errors
    ///
    /// See [`AttachError`]. Nothing has changed then, but that a larger limit of crew threads stays in force if what
    /// came after the settings failed.
    ///
    /// # Blocking
    ///
    /// For some tens of microseconds, until a crew thread carries the guest; the first time some
    /// hundred, while the crew is made; a tenth of a second if the limit of crew threads is reached and
    /// none becomes free.
    pub fn attach(&self) -> Result<AttachGuard, AttachError> {
        self.check()?;
        if ATTACHED.try_with(|_| ()).is_err() {
            return Err(AttachError::ThreadEnding);
        }
        if !local::current_crew().is_null() {
            return Err(AttachError::OnCrewThread);
        }
        if let Some(mode) = self.nested()? {
            return Ok(AttachGuard::new(mode));
        }
        let mode = match self.attach_here()? {
            None => Mode::Attached(self.placement),
            Some(why) if self.require => return Err(AttachError::Unsupported(why)),
            Some(why) => Mode::Pool(why),
        };
        Attachment::with(|attachment| {
            attachment.depth.set(1);
            attachment.max_crew.set(self.max_crew);
            attachment.mode.replace(Some(mode.clone()));
        });
        Ok(AttachGuard::new(mode))
    }

    fn check(&self) -> Result<(), AttachError> {
        let within =
            |setting, value: Option<usize>, range: std::ops::RangeInclusive<usize>| match value {
                Some(value) if !range.contains(&value) => {
                    Err(AttachError::OutOfRange { setting, value, range })
                }
                _ => Ok(()),
            };
        within("max_crew", self.max_crew, MIN_CREW..=MAX_CREW)?;
        within("stack_size", self.stack_size, MIN_STACK..=MAX_STACK)?;
        if let Placement::Pinned(cpu) = self.placement {
            let cpus = mechanism::possible_cpus();
            within("placement", Some(cpu), 0..=cpus - 1)?;
        }
        Ok(())
    }

    /// Counts one more use if the thread is attached already.
    fn nested(&self) -> Result<Option<Mode>, AttachError> {
        let Some(mode) = current_mode() else { return Ok(None) };
        match &mode {
            Mode::Attached(placement) if *placement != self.placement => {
                return Err(AttachError::SettingDiffers {
                    setting: "placement",
                    current: format!("{placement:?}"),
                    asked: format!("{:?}", self.placement),
                });
            }
            Mode::Pool(why) if self.require => {
                return Err(AttachError::Unsupported(why.clone()));
            }
            _ => {}
        }
        // SAFETY: null, or a record, which is never freed.
        if let Some(guest) = unsafe { local::current_guest().as_ref() }
            && guest.in_handler()
        {
            return Err(AttachError::InSignalHandler);
        }
        let before = Attachment::with(|attachment| attachment.max_crew.get());
        if let (Some(before), Some(asked)) = (before, self.max_crew)
            && before != asked
        {
            return Err(AttachError::SettingDiffers {
                setting: "max_crew",
                current: before.to_string(),
                asked: asked.to_string(),
            });
        }
        if let Some(engine) = engine() {
            self.agree(engine)?;
        }
        Attachment::with(|attachment| {
            attachment.max_crew.set(before.or(self.max_crew));
            attachment.depth.set(attachment.depth.get() + 1);
        });
        Ok(Some(mode))
    }

    /// Compares the settings that are the process's. Nothing has changed if they differ.
    fn agree(&self, engine: &Engine) -> Result<(), AttachError> {
        if let Some(asked) = self.stack_size.filter(|size| *size != engine.stack_size) {
            return Err(AttachError::SettingDiffers {
                setting: "stack_size",
                current: engine.stack_size.to_string(),
                asked: asked.to_string(),
            });
        }
        if let Some(limit) = self.max_crew {
            engine.limit.fetch_max(limit, Ordering::Relaxed);
            engine.dispatch(); // what waits in the queue may have been waiting for that
        }
        Ok(())
    }

    /// Attaches the running thread, or says why the pool must do.
    fn attach_here(&self) -> Result<Option<Unsupported>, AttachError> {
        let settings = Settings {
            limit: self.max_crew.unwrap_or(Settings::default().limit),
            stack_size: self.stack_size.unwrap_or(DEFAULT_STACK),
        };
        let engine = start(settings).map_err(|e| AttachError::Io("starting the crew", e))?;
        self.agree(engine)?;
        if let Some(why) = engine.unsupported().or_else(mechanism::check_thread) {
            return Ok(Some(why));
        }
        identity::Ids::of_this_thread()
            .map_err(|error| AttachError::Io("reading its groups (1024 at most)", error))?;
        // Crew threads are what the watchdog is, which makes them.
        if let Some(field) = lasting_difference(engine.watchdog.tid.load(Ordering::Relaxed)) {
            return Err(AttachError::IdentityDiffers(field));
        }
        // One to carry the guest, one to take it over.
        acquire_crew(engine, 2)?;
        let give_up = || (0..2).for_each(|_| engine.release());
        let Some(guest) = engine.new_guest() else {
            give_up();
            return Err(AttachError::TooManyGuests);
        };
        if let Err(error) = self.describe(guest) {
            engine.free_guest(guest);
            give_up();
            return Err(error);
        }
        if let Some(why) = rseq::leave() {
            engine.free_guest(guest);
            give_up();
            return Ok(Some(why));
        }
        engine.attached.fetch_add(1, Ordering::SeqCst);
        // A process that has sandboxed itself since the crew was made learns here that it must do without.
        let _ = engine.heavy_fence();
        go(engine, guest);
        Ok(None)
    }

    /// Writes down how the thread runs now.
    fn describe(&self, guest: &Guest) -> Result<(), AttachError> {
        guest.reset();
        let affinity = match self.placement {
            Placement::Follow => CpuSet::of_this_thread()
                .map_err(|error| AttachError::Io("sched_getaffinity", error))?,
            Placement::Pinned(cpu) => try_on(cpu)
                .map_err(|error| AttachError::Io("sched_setaffinity for the placement", error))?,
        };
        guest.change_manners(|manners| manners.name = call::name());
        read_manners(guest, affinity)
    }
}

/// The set of one CPU, if the kernel lets threads run there: it may be offline, or forbidden by a cpuset.
fn try_on(cpu: usize) -> std::io::Result<CpuSet> {
    let (own, wanted) = (CpuSet::of_this_thread()?, CpuSet::single(cpu));
    if !own.contains(cpu) {
        wanted.apply(0)?;
        own.apply(0)?;
    }
    Ok(wanted)
}

/// Reads mask, policy and the like of the running kernel thread. Duty: the caller has the guest.
pub(super) fn read_manners(guest: &Guest, affinity: CpuSet) -> Result<(), AttachError> {
    let scheduling = call::scheduling(0).map_err(|answer| {
        AttachError::Io("sched_getattr", std::io::Error::from_raw_os_error(-answer as i32))
    })?;
    guest.change_manners(|manners| {
        manners.signal_mask = call::signal_mask();
        manners.affinity = affinity;
        manners.scheduling = scheduling;
        manners.timer_slack = super::engine::timer_slack();
    });
    Ok(())
}

/// In a forked child: the thread is not attached.
pub(super) fn forget_attachment() {
    Attachment::with(|attachment| {
        attachment.depth.set(0);
        attachment.mode.take();
    });
}

/// How the calling thread works, if it has a guard.
pub(crate) fn current_mode() -> Option<Mode> {
    Attachment::with(|attachment| {
        let mode = attachment.mode.take();
        attachment.mode.replace(mode.clone());
        mode
    })
}

/// How a guard's thread works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Attached: calls run inline, and are handed off if they sleep.
    Attached(Placement),
    /// Everything goes to the pool of crew threads, for this reason.
    Pool(Unsupported),
}

/// What the thread knows of its attachment.
pub(super) struct Attachment {
    pub(super) depth: Cell<usize>,
    /// The limit that the guards of this thread have asked for, if any has.
    max_crew: Cell<Option<usize>>,
    /// Without a destructor: guards may be dropped, and threads fork, while the thread-locals are
    /// being destroyed.
    pub(super) mode: ManuallyDrop<Cell<Option<Mode>>>,
}

impl Attachment {
    pub(super) fn with<R>(f: impl FnOnce(&Self) -> R) -> R {
        thread_local! {
            static ATTACHMENT: Attachment =
                const {
                    Attachment {
                        depth: Cell::new(0),
                        max_crew: Cell::new(None),
                        mode: ManuallyDrop::new(Cell::new(None)),
                    }
                };
        }
        ATTACHMENT.with(f)
    }
}

/// Detaches when the thread ends. Its being destroyed also says that the thread is ending.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        detach_now();
    }
}

thread_local! {
    static ATTACHED: AtThreadEnd = const { AtThreadEnd };
}

/// Has the thread brought home when it ends.
pub(super) fn register_end() {
    ATTACHED.with(|_| ());
    super::last::register(); // the main thread's pthread_exit does not destroy it
}

/// Brings the running thread home if it is a guest.
pub(super) fn detach_now() {
    // SAFETY: null, or a record, which is never freed.
    if let (Some(engine), Some(guest)) = (engine(), unsafe { local::current_guest().as_ref() })
        && !guest.is_busy()
    {
        detach(engine, guest);
    }
}

/// Attaches the calling thread with the default settings; see [`Attach::attach`].
///
/// # Errors
///
/// As [`Attach::attach`].
///
/// # Blocking
///
/// As [`Attach::attach`].
pub fn attach() -> Result<AttachGuard, AttachError> {
    Attach::new().attach()
}

/// Runs `f` with the calling thread attached: the form to prefer, because it says where the thread
/// is a guest and where not.
///
/// # Errors
///
/// As [`Attach::attach`]; `f` has not run then.
pub fn with_attached<R>(f: impl FnOnce() -> R) -> Result<R, AttachError> {
    let guard = attach()?;
    let result = f();
    drop(guard);
    Ok(result)
}

/// True if the running code is a guest: calls run inline and are handed off if they sleep.
#[inline]
pub fn is_attached() -> bool {
    !local::current_guest().is_null()
}

impl Engine {
    /// Why the mechanism cannot be used in this process, if so. The first sentinel decides whether
    /// the scheduler calls are allowed.
    pub(crate) fn unsupported(&'static self) -> Option<Unsupported> {
        if self.unsupported.is_some() {
            return self.unsupported.clone();
        }
        self.watchdog.first_sentinel(self, arch::current_cpu() as usize)
    }
}
