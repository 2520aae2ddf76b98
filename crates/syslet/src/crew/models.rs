//! Model of who is awake, run by loom: no call sleeps while the watchdog does.
//!
//! It follows the code of `guest.rs`, `sentinel.rs` and `watchdog.rs`, which is not compiled for loom.
//! The light fence is a whole one here: where there is membarrier it costs nothing and the heavy one acts
//! for both, but what they order is the same. (The model of the call word is in `word.rs`.)

use loom::sync::Arc;
use loom::thread;

use crate::sync::{AtomicU32, AtomicU64, Ordering, bounded, fence};

/// What decides whether the watchdog sleeps. loom takes SeqCst seriously for fences only; what is a SeqCst
/// load or store of `alert` or `asleep` in the engine is a swap here, which sees the latest value.
struct Vigil {
    alert: AtomicU32,
    asleep: AtomicU32,
    word: AtomicU64,
}

impl Vigil {
    fn rouse(&self) {
        self.alert.swap(1, Ordering::SeqCst);
        self.asleep.swap(0, Ordering::SeqCst);
    }

    fn begin(&self, number: u64) {
        self.word.store(number, Ordering::Release);
        fence(Ordering::SeqCst); // light
        if self.alert.load(Ordering::Relaxed) == 0 {
            self.rouse();
        }
    }

    fn sentinel_goes_to_sleep(&self) {
        // No heavy fence: it may miss a call.
        self.alert.swap(0, Ordering::SeqCst);
        if self.word.load(Ordering::Acquire) != 0 {
            self.rouse();
        }
    }

    fn watchdog_goes_to_sleep(&self) {
        self.asleep.swap(1, Ordering::SeqCst);
        self.alert.swap(0, Ordering::SeqCst);
        fence(Ordering::SeqCst); // heavy
        if self.word.load(Ordering::Acquire) != 0 {
            self.asleep.store(0, Ordering::SeqCst);
        }
    }
}

#[test]
fn the_watchdog_does_not_sleep_through_a_call() {
    bounded(|| {
        let vigil = Arc::new(Vigil {
            alert: AtomicU32::new(1),
            asleep: AtomicU32::new(0),
            word: AtomicU64::new(0),
        });
        let sentinel = Arc::clone(&vigil);
        let sentinel = thread::spawn(move || sentinel.sentinel_goes_to_sleep());
        let watchdog = Arc::clone(&vigil);
        let watchdog = thread::spawn(move || watchdog.watchdog_goes_to_sleep());
        vigil.begin(1);
        vigil.word.store(0, Ordering::Release);
        vigil.begin(2);
        sentinel.join().unwrap();
        watchdog.join().unwrap();
        assert_eq!(vigil.asleep.load(Ordering::SeqCst), 0, "a call is in progress");
    });
}
