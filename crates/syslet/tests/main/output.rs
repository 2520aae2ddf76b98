//! What closures print is not lost.

use syslet::threadlet;

use crate::util::attached;
use crate::util::child::Child;
use crate::util::pipe::Pipe;

#[test]
fn closure_prints_through_the_harness_capture() {
    // The harness captures what the test's own threads print, and what threads print that std made
    // from them. Crew threads are nobody's: what they print must come out, and nothing may hang.
    let path = "output::closure_prints_through_the_harness_capture";
    let Some(ended) = Child::new().captured().run(path, || {
        attached(|| {
            println!("from the guest");
            threadlet(|| println!("from an inline closure")).join();
            let pipe = Pipe::new();
            let other = pipe.clone();
            let away = threadlet(move || {
                other.get();
                println!("from a closure away");
            });
            pipe.put(0);
            away.join();
            println!("from the guest again");
        });
    }) else {
        return;
    };
    assert!(!ended.timed_out && ended.code == Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("from an inline closure"), "{ended:#?}");
    assert!(ended.stdout.contains("from a closure away"), "{ended:#?}");
    assert!(!ended.stdout.contains("from the guest"), "the guest's capture is lost: {ended:#?}");
}
