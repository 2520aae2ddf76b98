//! Everything at once, for as long as SYSLET_STRESS_SECONDS says (20 by default).

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::runner::{ALL, Scenario};
use crate::sys::{self, Hogs};
use crate::work::{AwayRead, attach, read_now, submit_sleep};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("no_result_is_lost_or_doubled_under_stress", ALL, stress).extra(40)];

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// How long to go on.
pub(crate) fn seconds() -> u64 {
    std::env::var("SYSLET_STRESS_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20)
}

/// Guests.
const GUESTS: u64 = 4;

fn stress() {
    sys::handle(libc::SIGUSR1, count);
    let hogs = Hogs::on_every_cpu();
    let parent = sys::getpid();
    let sender = sys::fork(move || {
        while sys::kill(parent, libc::SIGUSR1) {
            thread::sleep(Duration::from_micros(300));
        }
        0
    });
    let end = Instant::now() + Duration::from_secs(seconds());
    let guests: Vec<_> =
        (0..GUESTS).map(|number| thread::spawn(move || guest(number, end))).collect();
    let done: u64 = guests.into_iter().map(|guest| guest.join().expect("a guest ends well")).sum();
    sender.kill();
    drop(hogs);
    let drained = syslet::drain(Instant::now() + sys::PATIENCE);
    assert_eq!(drained, Ok(()), "work is outstanding though every result was fetched");
    let stats = syslet::stats();
    assert_eq!((stats.attached, stats.outstanding), (0, 0));
    assert!(done > 0 && SIGNALS.load(Ordering::SeqCst) > 0, "{done} operations");
    println!("{done} operations, {} signals", SIGNALS.load(Ordering::SeqCst));
}

/// A small generator of numbers: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// One guest: random work, every result compared with what was asked for. Returns how much it did.
fn guest(number: u64, end: Instant) -> u64 {
    let mut dice = Dice(number + 1);
    let mut done = 0;
    let mut reads = Vec::new();
    let mut threadlets = Vec::new();
    let runs = std::sync::Arc::new(AtomicU64::new(0));
    let mut started = 0;
    let mut guard = attach();
    while Instant::now() < end {
        done += 1;
        match dice.roll(100) {
            0..25 => {
                let runs = runs.clone();
                started += 1;
                let value = dice.roll(u64::MAX);
                threadlets.push((
                    value,
                    syslet::threadlet(move || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        value
                    }),
                ));
            }
            25..40 => {
                let runs = runs.clone();
                started += 1;
                let value = dice.roll(u64::MAX);
                let time = Duration::from_micros(dice.roll(400));
                threadlets.push((
                    value,
                    syslet::threadlet(move || {
                        thread::sleep(time);
                        runs.fetch_add(1, Ordering::SeqCst);
                        value
                    }),
                ));
            }
            40..60 => reads.extend(AwayRead::try_new()),
            60..75 => echo(&mut dice),
            75..80 => {
                let time = Duration::from_micros(dice.roll(500));
                let (answer, took, inline) = submit_sleep(time);
                // A signal that comes before the call goes away ends it, as it would a plain one.
                let broken_off = inline && answer == -libc::EINTR as isize;
                assert!(broken_off || answer == 0 && took >= time, "a sleep answered {answer}");
            }
            80..90 => collect(&mut reads, &mut threadlets),
            90..96 => {
                drop(guard);
                guard = attach();
            }
            96..98 => child(),
            98 => {
                let value = thread::spawn(|| {
                    let _guard = attach();
                    syslet::threadlet(|| 11).join()
                });
                assert_eq!(value.join().expect("a thread ends well"), 11);
            }
            _ => program(),
        }
        if reads.len() + threadlets.len() > 24 {
            collect(&mut reads, &mut threadlets);
        }
    }
    collect(&mut reads, &mut threadlets);
    drop(guard);
    assert_eq!(runs.load(Ordering::SeqCst), started, "closures that ran, of those started");
    done
}

/// Fetches and compares everything.
fn collect(reads: &mut Vec<AwayRead>, threadlets: &mut Vec<(u64, syslet::Threadlet<u64>)>) {
    for (at, read) in reads.drain(..).enumerate() {
        read.finish(at as u8 | 1);
    }
    for (value, threadlet) in threadlets.drain(..) {
        let deadline = Instant::now() + sys::PATIENCE;
        match threadlet.join_deadline(deadline) {
            Ok(found) => assert_eq!(found, value, "a threadlet's result"),
            Err(_) => panic!("a threadlet's result is lost"),
        }
    }
}

/// A byte through a pipe.
fn echo(dice: &mut Dice) {
    let (reader, writer) = sys::pipe();
    let byte = dice.roll(256) as u8;
    assert!(sys::write_byte(writer.as_raw_fd(), byte));
    assert_eq!(read_now(reader.as_raw_fd()), Some(byte));
}

/// A forked child that uses the library.
fn child() {
    let child = sys::fork(|| {
        let guard = attach();
        let read = AwayRead::try_new();
        let value = syslet::threadlet(|| 17).join();
        if let Some(read) = read {
            read.finish(3);
        }
        drop(guard);
        i32::from(value != 17)
    });
    assert_eq!(child.end(), 0, "a child");
}

/// Another program.
fn program() {
    let status = std::process::Command::new("/proc/self/exe").args(["--part", "nothing"]).status();
    assert!(status.expect("it can be started").success());
}
