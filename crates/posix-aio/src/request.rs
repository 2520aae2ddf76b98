//! A request that did not end where the program asked for it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use syslet::{Call, CancelOutcome, Pending, hand_over};
use syslet_dropin::call::{Late, lock};
use syslet_dropin::report::{Begun, Kind, Way};
use syslet_sys::uapi::Timespec;

use crate::REPORT;
use crate::begin::{accepted, start_later};
use crate::block::{Asked, Block};
use crate::desk::{self, Lane};
use crate::event::{self, Place};
use crate::list::Group;
use crate::sync::Sync;
use crate::wait::{End, How};

pub(crate) const ECANCELED: isize = -(libc::ECANCELED as isize);

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Read,
    Write,
    Sync(Sync),
}

impl What {
    /// The call on a file.
    pub(crate) fn call(self, asked: &Asked) -> Call {
        let args = [asked.descriptor as usize, asked.buffer, asked.len, asked.offset as usize];
        match self {
            Self::Read => Call::new(libc::SYS_pread64 as usize, args),
            Self::Write => Call::new(libc::SYS_pwrite64 as usize, args),
            Self::Sync(sync) => sync.call(asked.descriptor),
        }
    }

    /// The call on what has no position.
    fn stream_call(self, asked: &Asked) -> Call {
        let args = [asked.descriptor as usize, asked.buffer, asked.len];
        match self {
            Self::Read => Call::new(libc::SYS_read as usize, args),
            Self::Write => Call::new(libc::SYS_write as usize, args),
            Self::Sync(_) => self.call(asked),
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Read => Kind::Read,
            Self::Write => Kind::Write,
            Self::Sync(sync) => sync.kind(),
        }
    }

    /// True if a write that was not to wait has written a part: the plain call would have written more.
    pub(crate) fn is_short_write(self, asked: &Asked, answer: isize) -> bool {
        self == Self::Write && answer > 0 && (answer as usize) < asked.len
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) block: Block,
    pub(crate) what: What,
    asked: Asked,
    /// The descriptor has no position.
    is_stream: bool,
    /// The call under way was made as on a file nevertheless, because nobody knew.
    as_file: AtomicBool,
    begun: Begun,
    group: Option<Arc<Group>>,
    /// Its place in the order of its descriptor; 0 until it is on the desk.
    pub(crate) number: AtomicU64,
    /// Bytes written before.
    part: AtomicUsize,
    /// Its answer is decided. Who sets it publishes.
    over: AtomicBool,
    /// It was asked to end, perhaps before there was a call.
    told: AtomicBool,
    /// For who has asked it to end: the block is the program's again as soon as the answer was published.
    end: End,
    /// The call, once the engine has it; of two the second, which is made when the first has ended. Protects itself
    /// only.
    late: Mutex<Option<Arc<Late>>>,
}

impl Request {
    pub(crate) fn new(
        block: Block,
        what: What,
        asked: Asked,
        is_stream: bool,
        begun: Begun,
        group: Option<Arc<Group>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            block,
            what,
            asked,
            is_stream,
            as_file: AtomicBool::new(false),
            begun,
            group,
            number: AtomicU64::new(0),
            part: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            told: AtomicBool::new(false),
            end: End::default(),
            late: Mutex::new(None),
        })
    }

    pub(crate) fn descriptor(&self) -> c_int {
        self.asked.descriptor
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// What it takes effect in order with, or may have to.
    pub(crate) fn lane(&self) -> Option<Lane> {
        match self.what {
            What::Write => Some(Lane::Writes),
            What::Read if self.is_stream => Some(Lane::Reads),
            What::Read | What::Sync(_) => None,
        }
    }

    pub(crate) fn call(&self) -> Call {
        if self.is_stream {
            return self.what.stream_call(&self.asked);
        }
        self.what.call(&self.asked)
    }

    /// How it has ended, waiting for that until `deadline`. None: it has not.
    pub(crate) fn outcome(&self, deadline: &Timespec) -> Option<How> {
        self.end.wait(deadline)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Decides the answer. False: it was decided.
    pub(crate) fn decide(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    /// The engine has the call as on a file, before anybody has looked whether it is one.
    pub(crate) fn follow_as_file(self: &Arc<Self>, pending: Pending) {
        self.as_file.store(true, Ordering::Relaxed);
        self.follow(pending);
    }

    /// The engine has the call; it says when it has ended.
    pub(crate) fn follow(self: &Arc<Self>, pending: Pending) {
        let request = Arc::clone(self);
        let late = Late::new(pending, move |ret| request.came(ret.raw(), Place::Elsewhere));
        // Before it is looked at: when it has ended another may stand there.
        *lock(&self.late) = Some(Arc::clone(&late));
        // Under the lock above or behind it: who asks finds the call, or is seen here.
        if self.told.load(Ordering::SeqCst) {
            self.pass_on(&late, Place::Elsewhere);
        }
        late.look();
    }

    /// A part of a write is done: a thread does the rest.
    #[allow(unsafe_code, reason = "makes the program's call")]
    #[cold]
    pub(crate) fn goes_on(self: &Arc<Self>, part: isize) {
        let part = part as usize;
        self.part.store(part, Ordering::Relaxed);
        let rest = Asked {
            buffer: self.asked.buffer + part,
            len: self.asked.len - part,
            offset: self.asked.offset + part as i64,
            ..self.asked
        };
        // SAFETY: clause *call*.
        match accepted(unsafe { hand_over(self.what.call(&rest)) }) {
            Ok(answer) => self.came(answer, Place::Program),
            Err(pending) => self.follow(pending),
        }
    }

    /// Its call has answered. What waited for it is begun elsewhere.
    pub(crate) fn came(self: &Arc<Self>, answer: isize, place: Place) {
        self.answered(answer, place).into_iter().for_each(start_later);
    }

    /// The same, but what waited for it is begun by the caller.
    pub(crate) fn answered(self: &Arc<Self>, answer: isize, place: Place) -> Vec<Arc<Self>> {
        let was_file = self.as_file.swap(false, Ordering::Relaxed);
        if was_file && self.is_stream && answer == -(libc::ESPIPE as isize) {
            return vec![Arc::clone(self)]; // as the stream that it is
        }
        let part = self.part.load(Ordering::Relaxed) as isize;
        let answer = if part > 0 { part + answer.max(0) } else { answer };
        if self.decide() { self.conclude(answer, place) } else { Vec::new() }
    }

    /// It is over, with this answer. Duty: the caller has decided it.
    pub(crate) fn finish(self: &Arc<Self>, answer: isize, place: Place) {
        self.conclude(answer, place).into_iter().for_each(start_later);
    }

    /// The same; gives what waited for it. A sync's answer is that of those whose work it has done, too.
    fn conclude(self: &Arc<Self>, answer: isize, place: Place) -> Vec<Arc<Self>> {
        let joined = match self.what {
            What::Sync(_) => desk::joined(self, answer == ECANCELED),
            What::Read | What::Write => Vec::new(),
        };
        let mut next = self.conclude_alone(answer, place);
        for other in joined {
            if other.decide() {
                next.extend(other.conclude_alone(answer, Place::Elsewhere));
            }
        }
        next
    }

    fn conclude_alone(self: &Arc<Self>, answer: isize, place: Place) -> Vec<Arc<Self>> {
        let shown = event::with_bad_signal(&self.asked.event, answer);
        let way = match place {
            Place::Program => Way::Inline,
            Place::Elsewhere if self.is_stream => Way::Parked,
            Place::Elsewhere => Way::Away,
        };
        // Before the program knows: it may end then.
        REPORT.end(self.begun, self.what.kind(), way, answer as i64);
        self.block.publish(shown);
        self.end.comes(if shown == ECANCELED { How::Cancelled } else { How::Done });
        let next = desk::leave(self);
        event::tell(&self.asked.event, place);
        if let Some(group) = &self.group {
            group.ended(shown < 0, place);
        }
        next
    }

    /// Asks its call to end. None: there is no call yet, which is told when there is; or no more.
    pub(crate) fn ask_to_end(self: &Arc<Self>) -> Option<CancelOutcome> {
        self.told.store(true, Ordering::SeqCst);
        // The lock is not held while the call is told: it may end on the spot.
        let late = lock(&self.late).clone()?;
        Some(self.pass_on(&late, Place::Program))
    }

    fn pass_on(self: &Arc<Self>, late: &Arc<Late>, place: Place) -> CancelOutcome {
        let outcome = late.cancel();
        if outcome == CancelOutcome::NotBegun {
            // Its call will not be made, so the buffer is the program's from here on. A part may be written.
            self.came(ECANCELED, place);
        }
        outcome
    }
}
