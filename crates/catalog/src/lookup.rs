//! The rows of all numbers as one slice, and the ways into it.

use crate::entry::Entry;
use crate::table::RANGES;

/// Above every number of the table.
const NUMBERS: usize = 512;

/// Marks a number without a row; more than there are rows.
const ABSENT: u16 = u16::MAX;

const COUNT: usize = {
    let (mut rows, mut range) = (0, 0);
    while range < RANGES.len() {
        rows += RANGES[range].len();
        range += 1;
    }
    rows
};

static ROWS: [Entry; COUNT] = {
    let mut rows = [RANGES[0][0]; COUNT];
    let (mut at, mut range) = (0, 0);
    while range < RANGES.len() {
        let mut i = 0;
        while i < RANGES[range].len() {
            rows[at] = RANGES[range][i];
            at += 1;
            i += 1;
        }
        range += 1;
    }
    rows
};

/// For every number the place of its row.
static PLACES: [u16; NUMBERS] = {
    let mut places = [ABSENT; NUMBERS];
    let mut i = 0;
    while i < COUNT {
        places[ROWS[i].nr as usize] = i as u16;
        i += 1;
    }
    places
};

/// All rows, ordered by number.
pub static ENTRIES: &[Entry] = &ROWS;

/// The row of call number `nr`, in constant time.
pub fn lookup(nr: u32) -> Option<&'static Entry> {
    let place = *PLACES.get(nr as usize)?;
    ENTRIES.get(usize::from(place))
}

/// The row of the call of that name. It searches all rows: not for hot paths.
pub fn by_name(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}
