//! What the fetchers do.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use syslet_kevent::Event;

use super::board::{Board, Dice, Side};
use crate::util::ring::{Ringed, Seen};

/// Takes events in one of the ways that there are.
pub(super) fn from_queue(side: Side<'_>, board: &Board, dice: &mut Dice) {
    let deadline = Instant::now() + Duration::from_millis(dice.roll(20));
    let max = 1 + dice.roll(40) as usize;
    if dice.roll(8) == 0 {
        // One that puts a part back.
        let mut batch = side.queue.batch(max);
        let mut events = Vec::new();
        batch.each(|event| events.push(*event));
        work_on_half(side, board, &events);
        return;
    }
    match side.queue.get_events(1 + dice.roll(2) as usize, max, Some(deadline)) {
        Ok(events) => events.iter().for_each(|event| board.handle(event, side)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
    }
}

/// Hands the other half on.
fn work_on_half(side: Side<'_>, board: &Board, events: &[Event]) {
    let (ours, others) = events.split_at(events.len().div_ceil(2));
    side.queue.hand_on(others);
    ours.iter().for_each(|event| board.handle(event, side));
}

/// Who reads a ring: several threads, one at a time.
pub(super) struct Reader<'a> {
    ring: &'a Ringed,
    uidx: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(ring: &'a Ringed) -> Self {
        Self { ring, uidx: 0 }
    }
}

/// Takes what is in the ring, or a part, and waits if that is nothing.
pub(super) fn from_ring(
    side: Side<'_>,
    reader: &Mutex<Reader<'_>>,
    board: &Board,
    dice: &mut Dice,
) {
    let mut events = Vec::new();
    let uidx = {
        let mut reader = reader.lock().unwrap();
        let ring = reader.ring;
        let Seen { over, kidx } = ring.look();
        let most = 1 + dice.roll(ring.size.into()) as usize;
        while reader.uidx != kidx && events.len() < most {
            events.push(ring.at(reader.uidx));
            reader.uidx = (reader.uidx + 1) % ring.size;
        }
        // Nobody else commits meanwhile.
        assert_eq!(side.queue.commit(reader.uidx, over).unwrap() as usize, events.len());
        reader.uidx
    };
    if events.is_empty() {
        let deadline = Instant::now() + Duration::from_millis(dice.roll(20));
        match side.queue.wait(1, uidx, Some(deadline)) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    } else if dice.roll(8) == 0 {
        work_on_half(side, board, &events);
    } else {
        events.iter().for_each(|event| board.handle(event, side));
    }
}
