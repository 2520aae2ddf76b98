//! `syslet calls`: the catalogue of system calls, for people and for programs.

mod describe;

use syslet_catalog::{ENTRIES, Entry, by_name, lookup};

use crate::args::CallsPlan;
use crate::exit::{Exit, Trouble, print, print_json};
use describe::{Row, detail, line};

/// Most names that an error suggests.
const SUGGESTIONS: usize = 3;

/// Prints the catalogue, or one call.
pub(crate) fn run(plan: CallsPlan) -> Result<Exit, Trouble> {
    match (plan.call, plan.json) {
        (None, false) => print(&ENTRIES.iter().map(line).collect::<String>())?,
        (None, true) => print_json(&ENTRIES.iter().map(Row::new).collect::<Vec<_>>())?,
        (Some(wanted), false) => print(&detail(find(&wanted)?))?,
        (Some(wanted), true) => print_json(&Row::new(find(&wanted)?))?,
    }
    Ok(Exit::Done)
}

fn find(wanted: &str) -> Result<&'static Entry, Trouble> {
    if let Ok(nr) = wanted.parse::<u32>() {
        return lookup(nr).ok_or_else(|| Trouble::new(format!("no call has the number {nr}")));
    }
    by_name(wanted).ok_or_else(|| {
        let near = near(wanted);
        let hint = if near.is_empty() {
            "; `syslet calls` lists all".to_owned()
        } else {
            format!("; near are {}", near.join(", "))
        };
        Trouble::new(format!("no call is named `{wanted}`{hint}"))
    })
}

/// Names that hold `wanted` or are held by it, and then those that differ in a third of its letters
/// at most; nearest first.
fn near(wanted: &str) -> Vec<&'static str> {
    let wanted = wanted.to_lowercase();
    let wanted = wanted.trim_start_matches("__").trim_start_matches("sys_");
    let is_kin = |name: &str| {
        wanted.len() > 2 && name.contains(wanted) || name.len() > 3 && wanted.contains(name)
    };
    let mut near: Vec<_> = ENTRIES
        .iter()
        .map(|entry| {
            let distance = distance(wanted.as_bytes(), entry.name.as_bytes());
            (!is_kin(entry.name), distance, entry.name)
        })
        .filter(|(stranger, distance, _)| !stranger || *distance <= wanted.len().div_ceil(3))
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, _, name)| name).take(SUGGESTIONS).collect()
}

/// Letters to insert, delete or change to make one name of the other (Levenshtein).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, near};

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance(b"", b"read"), 4);
        assert_eq!(distance(b"read", b"read"), 0);
        assert_eq!(distance(b"raed", b"read"), 2);
        assert_eq!(distance(b"pread", b"read"), 1);
    }

    #[test]
    fn slips_of_the_pen_find_their_call() {
        assert_eq!(near("statxx").first(), Some(&"statx"));
        assert_eq!(near("sys_read").first(), Some(&"read"));
        assert!(near("pread").contains(&"pread64"));
        assert!(near("fadvise").contains(&"fadvise64"));
        assert!(near("qqqqqqq").is_empty());
    }
}
