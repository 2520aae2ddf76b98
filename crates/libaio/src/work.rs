//! Requests of contexts that are our own.

#![allow(unsafe_code, reason = "makes the calls that requests ask for; the program's duties")]

use std::sync::Arc;

use syslet::{Call, Ret};
use syslet_dropin::call::start as start_call;
use syslet_dropin::disks::is_in_ram;
use syslet_dropin::flags::{STREAM, is_stream};
use syslet_dropin::report::Way;
use syslet_dropin::writes::{Write, try_now};
use syslet_dropin::{attach, launch, memory};
use syslet_sys::uapi::{Iocb, nr};

use crate::abi::{FSYNC, PREAD, PREADV, PWRITE, PWRITEV, RWF_NOWAIT, Vector, error, reads};
use crate::away::Away;
use crate::change::drain;
use crate::context::{Context, Mode, Op};
use crate::route::{self, LONGEST, Route, vectors};
use crate::submit::counted;
use crate::writes;

/// Starts a request. Its event comes in any case if this answers `Ok`.
pub(crate) fn start(
    context: &Arc<Context>,
    iocb: &Iocb,
    obj: u64,
    way: Route,
) -> Result<(), isize> {
    let way = if way == Route::Kernel { route::anew(iocb) } else { way };
    if way == Route::Kernel {
        return refuse(context, iocb, obj, libc::EINVAL);
    }
    if !is_keyed(iocb, obj) {
        return refuse(context, iocb, obj, libc::EFAULT);
    }
    let owed = matches!(way, Route::Buffered { .. });
    let number = context.reserve(owed)?;
    let op = Op::new(iocb, obj, owed, number);
    match way {
        Route::Buffered { flags } => return transfer(context, iocb, op, flags),
        Route::Direct => direct(context, iocb, op),
        Route::Sync => sync(context, iocb, op),
        Route::Poll | Route::Kernel => poll(context, iocb, op),
    }
    Ok(())
}

/// Puts the kernel's key into the program's block, as the kernel does with each that it takes: io_cancel asks for it.
/// False: the block may only be read. (Where the key is there already, as it is in most, and the block in a page that
/// others were in, that costs some nanoseconds.)
#[inline]
fn is_keyed(iocb: &Iocb, obj: u64) -> bool {
    const KEY: u32 = 0; // KIOCB_KEY of linux/aio_abi.h
    let place = obj as usize + std::mem::offset_of!(Iocb, key);
    if iocb.key == KEY {
        return memory::writable_known(place, size_of::<u32>()).is_ok();
    }
    // SAFETY: the program's duties: its block.
    unsafe { memory::write(place, KEY) }.is_ok()
}

/// What a transfer is, as a call: with the vectors that it names, which the program may take away.
struct Transfer {
    vectors: Box<[Vector]>,
    number: usize,
    args: [usize; 6],
}

/// Duty: the request was found sound by [`route`](crate::route::route).
fn transfer_of(iocb: &Iocb) -> Option<Transfer> {
    let named = match iocb.opcode {
        PREADV | PWRITEV => vectors(iocb)?,
        _ => Box::default(),
    };
    let (buffer, len) = match (iocb.opcode, &*named) {
        // Cut before it is looked at, as the kernel does here and not in pread(2).
        (PREAD | PWRITE, _) => (iocb.buf as usize, iocb.nbytes.min(LONGEST) as usize),
        (_, [one]) => (one[0], one[1]),
        (_, several) => (several.as_ptr() as usize, several.len()),
    };
    let single = matches!(iocb.opcode, PREAD | PWRITE) || named.len() == 1;
    let (descriptor, at) = (iocb.descriptor as usize, iocb.offset as usize);
    let flags = iocb.rw_flags as usize;
    let (vectors, buffer, len) = if single && flags != 0 {
        let one: Box<[Vector]> = Box::new([[buffer, len]]);
        let at = one.as_ptr() as usize;
        (one, at, 1)
    } else {
        (named, buffer, len)
    };
    let number = match (reads(iocb), single, flags) {
        (true, true, 0) => nr::PREAD64,
        (true, false, 0) => nr::PREADV,
        (true, ..) => nr::PREADV2,
        (false, true, 0) => nr::PWRITE64,
        (false, false, 0) => nr::PWRITEV,
        (false, ..) => nr::PWRITEV2,
    };
    Some(Transfer { vectors, number, args: [descriptor, buffer, len, at, 0, flags] })
}

impl Transfer {
    /// The same of what has no positions, such as pipes.
    fn without_position(mut self) -> Self {
        self.args[3] = usize::MAX; // for those with flags
        self.number = match self.number {
            nr::PREAD64 => nr::READ,
            nr::PREADV => nr::READV,
            nr::PWRITE64 => nr::WRITE,
            nr::PWRITEV => nr::WRITEV,
            number => number,
        };
        self
    }

    fn call(&self) -> Call {
        let [descriptor, buffer, len, at, high, flags] = self.args;
        match self.number {
            nr::READ | nr::READV | nr::WRITE | nr::WRITEV => {
                Call::new(self.number, [descriptor, buffer, len])
            }
            nr::PREADV2 | nr::PWRITEV2 => {
                Call::new(self.number, [descriptor, buffer, len, at, high, flags])
            }
            _ => Call::new(self.number, [descriptor, buffer, len, at]),
        }
    }

    /// Makes it here and now.
    ///
    /// # Safety
    ///
    /// The program's duties: it asked for this transfer.
    unsafe fn make(&self) -> isize {
        // SAFETY: the duty of this function.
        unsafe { syslet_sys::arch::syscall(self.number, self.args) }
    }
}

/// A transfer that the kernel would do, or wait for, before it returns.
fn transfer(context: &Arc<Context>, iocb: &Iocb, op: Op, flags: i32) -> Result<(), isize> {
    // A number that named a pipe may name a file by now, and that has positions.
    let is_stream = flags & STREAM != 0 && is_stream(iocb.descriptor as i32);
    let now = || if reads(iocb) { read_now(iocb) } else { write_now(iocb, flags) };
    if !is_stream && let Some(answer) = now() {
        return inline(context, iocb, &op, answer);
    }
    // What is known of the descriptor may be old, and once the call is away its error is an event. A guest's is made
    // here, most likely.
    if !attach::is_wanted() && route::anew(iocb) == Route::Kernel {
        context.unreserve(op.owed);
        return refuse(context, iocb, op.obj, libc::EINVAL);
    }
    let Some(transfer) = transfer_of(iocb) else {
        context.unreserve(op.owed);
        return Err(error(libc::EFAULT));
    };
    let transfer = if is_stream { transfer.without_position() } else { transfer };
    let writes = !reads(iocb);
    let answer = if iocb.rw_flags & RWF_NOWAIT != 0 {
        // SAFETY: the program's duties: it asked for this transfer.
        let answer = unsafe { transfer.make() };
        if answer == error(libc::ESPIPE) {
            let stream = transfer.without_position();
            // SAFETY: as above.
            Some(unsafe { stream.make() })
        } else {
            Some(answer)
        }
    } else {
        match send(context, transfer, op, writes, is_stream) {
            Some(answer) if answer == error(libc::ESPIPE) => {
                let again = transfer_of(iocb).map(Transfer::without_position);
                again.map_or(Some(error(libc::EFAULT)), |stream| {
                    send(context, stream, op, writes, true)
                })
            }
            other => other,
        }
    };
    answer.map_or(Ok(()), |answer| inline(context, iocb, &op, answer))
}

/// Has the engine make a call; gives its answer, if it has one at once.
fn send(
    context: &Arc<Context>,
    transfer: Transfer,
    op: Op,
    writes: bool,
    stream: bool,
) -> Option<isize> {
    let call = transfer.call();
    let written = (writes && !stream).then_some(transfer.args[0] as i32);
    let way = if stream { Way::Parked } else { Way::Away };
    let away = Away::new(context, op, way, written);
    let then = || {
        away.enter();
        let away = Arc::clone(&away);
        move |ret: Ret| {
            drop(transfer.vectors);
            away.end(answer_of(ret.raw()) as i64);
        }
    };
    // SAFETY: the program's duties: the memory is the request's until its event, and if that comes before the call's
    // end the call is not made; the vectors are kept.
    let started = unsafe { start_call(call, then) };
    away.follow(started).map(answer_of)
}

/// As the kernel turns answers into events.
fn answer_of(answer: isize) -> isize {
    const RESTARTS: [isize; 4] = [-512, -513, -514, -516]; // ERESTARTSYS and its kin
    if RESTARTS.contains(&answer) { error(libc::EINTR) } else { answer }
}

/// A request has its answer before io_submit returns.
#[inline]
fn inline(context: &Arc<Context>, iocb: &Iocb, op: &Op, answer: isize) -> Result<(), isize> {
    // What the kernel says of the request, not of the transfer, is no event.
    const OF_REQUESTS: [i32; 3] = [libc::EINVAL, libc::EISDIR, libc::EBADF];
    if answer < 0
        && let Some(errno) = OF_REQUESTS.into_iter().find(|errno| answer == error(*errno))
        && (context.backed || errno != libc::EINVAL || route::refusal(iocb, op.obj).is_some())
    {
        context.unreserve(op.owed);
        let errno = if errno == libc::EISDIR { libc::EINVAL } else { errno };
        return refuse(context, iocb, op.obj, errno);
    }
    context.complete(op, answer as i64, Way::Inline);
    Ok(())
}

/// A read that is all in memory.
#[inline]
fn read_now(iocb: &Iocb) -> Option<isize> {
    if iocb.opcode != PREAD || attach::is_wanted() {
        return None;
    }
    let vector = [iocb.buf as usize, iocb.nbytes as usize];
    let (descriptor, at) = (iocb.descriptor as usize, iocb.offset as usize);
    let flags = (iocb.rw_flags | RWF_NOWAIT) as usize;
    let mut args = [descriptor, vector.as_ptr() as usize, 1, at, 0, flags];
    // SAFETY: the program's duties: it asked for this read.
    let mut answer = unsafe { syslet_sys::arch::syscall(nr::PREADV2, args) };
    if answer == error(libc::EOPNOTSUPP) && is_in_ram(iocb.descriptor as i32) {
        args[5] = iocb.rw_flags as usize;
        // SAFETY: as above. It waits for nothing but memory that was swapped out.
        answer = unsafe { syslet_sys::arch::syscall(nr::PREADV2, args) };
        std::hint::black_box(&vector);
        return Some(answer);
    }
    std::hint::black_box(&vector);
    // Whether a short one ends where the file does the engine finds out.
    usize::try_from(answer).is_ok_and(|len| len == vector[1] && len > 0).then_some(answer)
}

/// A buffered write on the spot, if that is wise.
fn write_now(iocb: &Iocb, flags: i32) -> Option<isize> {
    let descriptor = iocb.descriptor as i32;
    if iocb.opcode != PWRITE
        || attach::is_wanted()
        || iocb.rw_flags & RWF_NOWAIT != 0
        || writes::are_away(descriptor)
    {
        return None;
    }
    let write = Write {
        descriptor,
        address: iocb.buf as usize,
        len: iocb.nbytes as usize,
        position: iocb.offset as u64,
        rw_flags: iocb.rw_flags,
        flags,
    };
    // A pipe has no position; the engine finds that out.
    // SAFETY: the program's duties: it asked for this write.
    unsafe { try_now(&write) }.filter(|answer| *answer != error(libc::ESPIPE))
}

/// A transfer past the cache, in a context that is not the kernel's any more: a crew thread makes it, if there is one.
fn direct(context: &Arc<Context>, iocb: &Iocb, op: Op) {
    let Some(transfer) = transfer_of(iocb) else {
        return context.complete(&op, error(libc::EFAULT) as i64, Way::Inline);
    };
    let context = Arc::clone(context);
    let (descriptor, writes) = (iocb.descriptor as i32, !reads(iocb));
    if writes {
        writes::enter(descriptor);
    }
    let work = move || {
        // SAFETY: the program's duties: the memory is the request's until its event; the vectors are kept.
        let answer = unsafe { transfer.make() };
        drop(transfer.vectors);
        if writes {
            writes::leave(descriptor);
        }
        context.complete(&op, answer_of(answer) as i64, Way::Away);
    };
    launch::elsewhere(work);
}

fn sync(context: &Arc<Context>, iocb: &Iocb, op: Op) {
    let number = if iocb.opcode == FSYNC { libc::SYS_fsync } else { libc::SYS_fdatasync };
    let call = Call::new(number as usize, [iocb.descriptor as usize]);
    let away = Away::new(context, op, Way::Away, None);
    let then = || {
        let away = Arc::clone(&away);
        move |ret: Ret| away.end(answer_of(ret.raw()) as i64)
    };
    // SAFETY: it names no memory.
    let started = unsafe { start_call(call, then) };
    if let Some(answer) = away.follow(started) {
        context.complete(&op, answer as i64, Way::Inline);
    }
}

/// `struct pollfd`.
#[repr(C)]
struct Entry {
    descriptor: i32,
    events: u16,
    found: u16,
}

fn poll(context: &Arc<Context>, iocb: &Iocb, op: Op) {
    let (descriptor, events) = (iocb.descriptor as i32, iocb.buf as u16);
    let entry = Box::into_raw(Box::new(Entry { descriptor, events, found: 0 }));
    // As a number: the closure goes to another thread.
    let at = entry as usize;
    let result = move |answer: isize| {
        // SAFETY: made above, and the call is over.
        let entry = unsafe { Box::from_raw(at as *mut Entry) };
        match answer {
            1 => i64::from(entry.found),
            // Cancelled: the kernel's events say that nothing was found.
            answer if answer == error(libc::ECANCELED) => 0,
            answer => answer_of(answer) as i64,
        }
    };
    let call = Call::new(nr::POLL, [at, 1, usize::MAX]);
    let away = Away::new(context, op, Way::Parked, None);
    let then = || {
        let away = Arc::clone(&away);
        move |ret: Ret| away.end(result(ret.raw()))
    };
    // SAFETY: the entry is a box that is freed when the call has ended.
    let started = unsafe { start_call(call, then) };
    if let Some(answer) = away.follow(started) {
        context.complete(&op, result(answer), Way::Inline);
    }
}

/// A request that the kernel would refuse, which is why: it is asked. (`errno`: what we think.)
#[cold]
fn refuse(context: &Arc<Context>, iocb: &Iocb, obj: u64, errno: i32) -> Result<(), isize> {
    if !route::is_understood(iocb) {
        return Err(error(libc::EINVAL));
    }
    // An event of the kernel's must find room in our ring. Without any the kernel looks no further.
    context.reserve(false)?;
    if !context.backed {
        context.unreserve(false);
        return Err(error(route::refusal(iocb, obj).unwrap_or(errno)));
    }
    let pointer = [obj as usize];
    let answer = {
        let _gate = context.pass();
        if context.mode() == Mode::Own {
            counted(context, pointer.as_ptr() as usize, 1, iocb)
        } else {
            error(libc::EINVAL)
        }
    };
    if answer != 1 {
        context.unreserve(false);
        return Err(answer);
    }
    drain(context, 1);
    Ok(())
}
