//! Watches that are to be begun, on their way to the keeper and back.

use syslet_sys::futex;

use super::source::{Begun, Order};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};

/// Orders, and what becomes of them.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Their files were sent with this ticket; 0: they are to be taken.
    pub(super) ticket: u64,
    orders: Mutex<Vec<Order>>,
    begun: Mutex<Vec<Begun>>,
    done: AtomicU32,
    pub(super) inodes: bool,
}

impl Gathering {
    pub(super) fn new(orders: Vec<Order>, inodes: bool, ticket: u64) -> Self {
        let (orders, begun) = (Mutex::new(orders), Mutex::default());
        Self { ticket, orders, begun, done: AtomicU32::new(0), inodes }
    }

    /// **Blocking**: until the keeper has done it.
    pub(super) fn wait(&self) -> Vec<Begun> {
        while self.done.load(Ordering::Acquire) == 0 {
            futex::wait(&self.done, 0, None);
        }
        std::mem::take(&mut *lock(&self.begun))
    }

    pub(super) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.orders))
    }

    pub(super) fn answer(&self, begun: Vec<Begun>) {
        *lock(&self.begun) = begun;
        self.done.store(1, Ordering::Release);
        futex::wake(&self.done, 1);
    }
}
