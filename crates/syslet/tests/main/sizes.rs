//! Closures and results of every size and alignment.

use std::hint::black_box;

use syslet::threadlet;

use crate::util::attached;
use crate::util::child::Child;
use crate::util::pipe::Pipe;

/// As a cache line.
#[repr(align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide([u8; 64]);

/// As a page.
#[repr(align(4096))]
struct Page([u8; 4096]);

fn is_aligned<T>(value: &T) -> bool {
    (black_box(std::ptr::from_ref(value)) as usize).is_multiple_of(align_of::<T>())
}

#[test]
fn zero_sized_closure_and_result() {
    attached(|| {
        for _ in 0..100 {
            let () = threadlet(|| ()).join();
        }
    });
}

#[test]
fn over_aligned_captures_and_results_stay_aligned() {
    attached(|| {
        for n in 0..100 {
            let wide = Wide([n; 64]);
            let away = threadlet(move || {
                assert!(is_aligned(&wide), "the capture");
                wide
            });
            let wide = away.join();
            assert!(is_aligned(&wide), "the result");
            assert_eq!(wide, Wide([n; 64]));
        }
        let page = Page([5; 4096]);
        let sum = threadlet(move || {
            assert!(is_aligned(&page));
            page.0.iter().map(|&byte| u32::from(byte)).sum::<u32>()
        });
        assert_eq!(sum.join(), 5 * 4096);
    });
}

#[test]
fn over_aligned_result_of_a_closure_that_sleeps() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let away = threadlet(move || Wide([other.get(); 64]));
        pipe.put(3);
        assert_eq!(away.join(), Wide([3; 64]));
    });
}

fn round_trip<const N: usize>() {
    let bytes: [u8; N] = std::array::from_fn(|at| at as u8);
    let inline = threadlet(move || black_box(bytes)).join();
    assert!(inline == bytes, "{N} bytes, inline");
    let pipe = Pipe::new();
    let other = pipe.clone();
    let away = threadlet(move || {
        other.get();
        black_box(bytes)
    });
    pipe.put(0);
    assert!(away.join() == bytes, "{N} bytes, away");
}

#[test]
fn large_closures_and_results() {
    attached(|| {
        round_trip::<1>();
        round_trip::<15>();
        round_trip::<64>();
        round_trip::<1_000>();
        round_trip::<10_000>();
        round_trip::<32_000>(); // closure and result are as large as fits beside the call
        round_trip::<33_000>(); // and larger
        round_trip::<70_000>();
    });
}

#[test]
fn large_closure_fits_the_smallest_stack() {
    let ended = Child::new().run("sizes::large_closure_fits_the_smallest_stack", || {
        let guard = crate::util::settings().stack_size(256 << 10).attach();
        let guard = guard.expect("256 KiB is the smallest stack");
        let bytes = [1u8; 20_000];
        let sum = threadlet(move || bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>()).join();
        assert_eq!(sum, 20_000);
        drop(guard);
    });
    ended.expect("this is the parent").expect_done();
}
