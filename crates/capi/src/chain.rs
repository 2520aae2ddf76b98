//! Chains: `struct syslet_chain`.

#![allow(unsafe_code, reason = "functions that C programs call, and boxes that they hold")]

use std::ffi::{c_int, c_long, c_uint};

use syslet::{Arg, ChainResult, PendingChain, StepId, SubmittedChain, When, submit_chain};

use crate::abi::{self, ChainArg};
use crate::errno;
use crate::known::Known;
use crate::pointer::{Pointer, deadline, is_handle};

/// What `struct syslet_chain` is.
#[derive(Debug)]
pub(crate) struct Chain {
    steps: Vec<StepId>,
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(syslet::Chain),
    Away(PendingChain),
    Over(ChainResult),
}

impl State {
    /// Takes the state out; what is left is used by nobody.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Ready(syslet::Chain::new()))
    }
}

impl Chain {
    /// The chain to be changed.
    fn open(&mut self) -> Result<&mut syslet::Chain, c_int> {
        if let State::Over(_) = self.state
            && let State::Over(result) = self.state.take()
        {
            self.state = State::Ready(result.into_chain());
        }
        match &mut self.state {
            State::Ready(chain) => Ok(chain),
            _ => Err(-libc::EBUSY),
        }
    }

    fn step(&self, step: c_int) -> Result<StepId, c_int> {
        let at = usize::try_from(step).map_err(|_| -libc::EINVAL)?;
        self.steps.get(at).copied().ok_or(-libc::EINVAL)
    }

    fn push(&mut self, nr: usize, given: &[ChainArg]) -> Result<c_int, c_int> {
        let mut args = [Arg::Value(0); 6];
        if given.len() > args.len() {
            return Err(-libc::EINVAL);
        }
        for (arg, given) in args.iter_mut().zip(given) {
            *arg = match given.kind {
                abi::ARG_VALUE => Arg::Value(given.value),
                abi::ARG_RESULT => Arg::Result(*self.steps.get(given.value).ok_or(-libc::EINVAL)?),
                abi::ARG_AT => {
                    // Now: the thread that makes the step could only leave it out.
                    Known::here(|known| known.readable(given.value, size_of::<usize>()))?;
                    Arg::At(given.value)
                }
                _ => return Err(-libc::EINVAL),
            };
        }
        let number = c_int::try_from(self.steps.len()).map_err(|_| -libc::ENOMEM)?;
        let step = self.open()?.push(nr, args);
        self.steps.push(step);
        Ok(number)
    }

    fn stop_on(&mut self, step: c_int, condition: c_uint) -> Result<c_int, c_int> {
        let (step, when) = (self.step(step)?, when(condition)?);
        self.open()?.stop_on(step, when);
        Ok(0)
    }

    fn skip_on(&mut self, step: c_int, condition: c_uint, to: c_int) -> Result<c_int, c_int> {
        let (step, when, to) = (self.step(step)?, when(condition)?, self.step(to)?);
        if to <= step {
            return Err(-libc::EINVAL);
        }
        self.open()?.skip_on(step, when, to);
        Ok(0)
    }

    fn clear(&mut self) -> Result<c_int, c_int> {
        self.open()?.clear();
        self.steps.clear();
        Ok(0)
    }

    /// # Safety
    ///
    /// The duties of `submit_chain`.
    unsafe fn submit(&mut self) -> Result<c_int, c_int> {
        self.open()?;
        let State::Ready(chain) = self.state.take() else { return Err(-libc::EBUSY) };
        // SAFETY: the duty of this function.
        match unsafe { submit_chain(chain) } {
            Ok(SubmittedChain::Done(result)) => {
                self.state = State::Over(result);
                Ok(abi::DONE)
            }
            Ok(SubmittedChain::Pending(pending)) => {
                self.state = State::Away(pending);
                Ok(abi::PENDING)
            }
            Err(syslet::SubmitError::Refused(chain, why)) => {
                self.state = State::Ready(chain);
                Err(errno::of_refusal(why))
            }
            Err(other) => {
                self.state = State::Ready(other.into_inner());
                Err(-libc::EBUSY)
            }
        }
    }

    fn wait(&mut self, timeout: i64) -> Result<c_int, c_int> {
        match self.state.take() {
            State::Away(pending) => match deadline(timeout) {
                None => self.state = State::Over(pending.wait()),
                Some(deadline) => match pending.wait_deadline(deadline) {
                    Ok(result) => self.state = State::Over(result),
                    Err(pending) => {
                        self.state = State::Away(pending);
                        return Ok(abi::PENDING);
                    }
                },
            },
            State::Over(result) => self.state = State::Over(result),
            State::Ready(chain) => {
                self.state = State::Ready(chain);
                return Err(-libc::EINVAL);
            }
        }
        Ok(abi::DONE)
    }

    fn cancel(&self) -> Result<c_int, c_int> {
        match &self.state {
            State::Away(pending) => Ok(errno::of_cancel(pending.cancel())),
            State::Over(_) => Ok(abi::CANCEL_TOO_LATE),
            State::Ready(_) => Err(-libc::EINVAL),
        }
    }

    fn over(&self) -> Result<&ChainResult, c_int> {
        match &self.state {
            State::Over(result) => Ok(result),
            _ => Err(-libc::EINVAL),
        }
    }
}

fn when(condition: c_uint) -> Result<When, c_int> {
    const ALL: [When; 5] =
        [When::Nonzero, When::Zero, When::Negative, When::NonPositive, When::Always];
    ALL.get(condition as usize).copied().ok_or(-libc::EINVAL)
}

/// Calls `f` with the chain that a program names.
///
/// # Safety
///
/// The header's duties: null, or a chain, which this thread alone uses.
unsafe fn with(chain: *mut Chain, f: impl FnOnce(&mut Chain) -> Result<c_int, c_int>) -> c_int {
    if !is_handle(chain) {
        return -libc::EFAULT;
    }
    // SAFETY: the duty of this function.
    f(unsafe { &mut *chain }).unwrap_or_else(|error| error)
}

/// `syslet_chain_new(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_new(place: *mut *mut Chain) -> c_int {
    // SAFETY: the duty of this function.
    match unsafe { Pointer::looked_at(place) } {
        Ok(place) => {
            let state = State::Ready(syslet::Chain::new());
            place.write(Box::into_raw(Box::new(Chain { steps: Vec::new(), state })));
            0
        }
        Err(error) => error,
    }
}

/// `syslet_chain_push(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_push(
    chain: *mut Chain,
    nr: usize,
    args: *const ChainArg,
    count: c_uint,
) -> c_int {
    let count = count as usize;
    if count > 6 {
        return -libc::EINVAL;
    }
    let mut given = [ChainArg { kind: abi::ARG_VALUE, reserved0: 0, value: 0 }; 6];
    if count > 0 {
        let size = count * size_of::<ChainArg>();
        if let Err(error) = Known::here(|known| known.readable(args.addr(), size)) {
            return error;
        }
        let (from, to) = (args.cast::<u8>(), given.as_mut_ptr().cast::<u8>());
        // SAFETY: the header's duty: there are that many.
        unsafe { from.copy_to_nonoverlapping(to, count * size_of::<ChainArg>()) };
    }
    // SAFETY: the duty of this function.
    unsafe { with(chain, |chain| chain.push(nr, &given[..count])) }
}

/// `syslet_chain_stop_on(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_stop_on(
    chain: *mut Chain,
    step: c_int,
    when: c_uint,
) -> c_int {
    // SAFETY: the duty of this function.
    unsafe { with(chain, |chain| chain.stop_on(step, when)) }
}

/// `syslet_chain_skip_on(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_skip_on(
    chain: *mut Chain,
    step: c_int,
    when: c_uint,
    to: c_int,
) -> c_int {
    // SAFETY: the duty of this function.
    unsafe { with(chain, |chain| chain.skip_on(step, when, to)) }
}

/// `syslet_chain_clear(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_clear(chain: *mut Chain) -> c_int {
    // SAFETY: the duty of this function.
    unsafe { with(chain, Chain::clear) }
}

/// `syslet_chain_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_submit(chain: *mut Chain) -> c_int {
    // SAFETY: the header's duties are those of `submit_chain`.
    let submit = |chain: &mut Chain| unsafe { chain.submit() };
    // SAFETY: the duty of this function.
    unsafe { with(chain, submit) }
}

/// `syslet_chain_wait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_wait(chain: *mut Chain, timeout: i64) -> c_int {
    // SAFETY: the duty of this function.
    unsafe { with(chain, |chain| chain.wait(timeout)) }
}

/// `syslet_chain_cancel(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_cancel(chain: *const Chain) -> c_int {
    // SAFETY: the duty of this function.
    unsafe { with(chain.cast_mut(), |chain| chain.cancel()) }
}

/// `syslet_chain_result(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_result(
    chain: *const Chain,
    step: c_int,
    result: *mut c_long,
) -> c_int {
    // SAFETY: the duty of this function.
    let result = match unsafe { Pointer::known(result) } {
        Ok(result) => result,
        Err(error) => return error,
    };
    let find = |chain: &mut Chain| {
        let step = chain.step(step)?;
        let ret = chain.over()?.ret(step).ok_or(-libc::ENOENT)?;
        result.write(ret.raw() as c_long);
        Ok(0)
    };
    // SAFETY: the duty of this function.
    unsafe { with(chain.cast_mut(), find) }
}

/// `syslet_chain_last(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_last(chain: *const Chain) -> c_int {
    let find = |chain: &mut Chain| {
        let (step, _) = chain.over()?.last().ok_or(-libc::ENOENT)?;
        Ok(step.index() as c_int)
    };
    // SAFETY: the duty of this function.
    unsafe { with(chain.cast_mut(), find) }
}

/// `syslet_chain_free(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_chain_free(chain: *mut Chain) {
    if is_handle(chain) {
        // SAFETY: the header's duties: it came from `syslet_chain_new` and is not used again.
        drop(unsafe { Box::from_raw(chain) });
    }
}
