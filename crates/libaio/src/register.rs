//! The contexts of this process, by the address that the program knows them by.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use syslet_dropin::call::lock;
use syslet_dropin::life::{self, PerLife};

use crate::context::Context;
use crate::ring;

/// See the module. A forked child has none of its parent's: there they are `EINVAL`, as the kernel's are.
#[derive(Debug, Default)]
pub(crate) struct Register {
    /// Protects itself only.
    contexts: Mutex<HashMap<usize, Arc<Context>>>,
    /// Requests that contexts without one of the kernel's are for (the kernel's `aio-nr`).
    pub(crate) own: AtomicU32,
    /// Contexts that have one of the kernel's.
    pub(crate) backed: AtomicU32,
    /// Names the next ring without one of the kernel's.
    pub(crate) next: AtomicU32,
}

static REGISTER: PerLife<Register> = PerLife::new();

thread_local! {
    /// The context that this thread used last.
    static LAST: Cell<Option<Arc<Context>>> = const { Cell::new(None) };
}

/// The one of this process.
pub(crate) fn register() -> &'static Register {
    REGISTER.get()
}

impl Register {
    pub(crate) fn insert(&self, address: usize, context: Arc<Context>) {
        lock(&self.contexts).insert(address, context);
    }

    /// Takes a context out that has ended. (Another may stand at its address by now.)
    pub(crate) fn remove(&self, address: usize, context: &Arc<Context>) {
        let mut contexts = lock(&self.contexts);
        if contexts.get(&address).is_some_and(|there| Arc::ptr_eq(there, context)) {
            contexts.remove(&address);
        }
    }

    fn find(&self, address: usize) -> Option<Arc<Context>> {
        let found = lock(&self.contexts).get(&address).cloned();
        found.or_else(|| self.find_moved(address))
    }

    /// A program may have moved a ring by mremap(2): then it is not at its old address. (The kernel looks for its
    /// own by itself.)
    #[cold]
    fn find_moved(&self, address: usize) -> Option<Arc<Context>> {
        let id = ring::id_at(address)?;
        let mut contexts = lock(&self.contexts);
        // Something else may be at the old address by now.
        let is_it =
            |old: usize, context: &Context| context.owns_ring(id) && ring::id_at(old) != Some(id);
        let old =
            contexts.iter().find(|(old, context)| is_it(**old, context)).map(|(old, _)| *old)?;
        let context = contexts.remove(&old)?;
        context.move_to(address);
        contexts.insert(address, Arc::clone(&context));
        Some(context)
    }
}

/// Calls `f` with the context at `address`; `None` if it is none of ours.
#[inline]
pub(crate) fn with<R>(address: usize, f: impl FnOnce(&Arc<Context>) -> R) -> Option<R> {
    // In a thread that ends there may be no such variable any more.
    let last = LAST.try_with(Cell::take).ok().flatten();
    let known = last.filter(|context| context.is_at(address) && context.life() == life::now());
    let context = match known {
        Some(context) => context,
        None => register().find(address)?,
    };
    let answer = f(&context);
    let _ = LAST.try_with(|last| last.set(Some(context)));
    Some(answer)
}
