//! Looking whether descriptors are still ready, and still the same, on a thread that has the program's.

use std::sync::Arc;

use syslet::source::{self, File};
use syslet_sys::descriptor::{self, PollEntry};

use crate::node::Node;

/// Events of poll(2), as it has them.
fn entry(number: i32, events: u32) -> PollEntry {
    PollEntry { descriptor: number, events: events as u16, found: 0 }
}

/// So many are asked about in one call: poll(2) answers `EINVAL` for more than `RLIMIT_NOFILE`, which may be less
/// than are open.
const MOST: usize = 256;

/// Asks without waiting; false if there was no answer.
fn poll(entries: &mut [PollEntry]) -> bool {
    // The C library's would be a cancellation point, and what is looked at here would be lost with the thread.
    descriptor::poll_all(entries) >= 0
}

/// As [`poll`], one after the other if together they are too many; says of which there is no answer.
fn poll_all(entries: &mut [PollEntry]) -> Vec<bool> {
    let mut unknown = vec![false; entries.len()];
    for (entries, unknown) in entries.chunks_mut(MOST).zip(unknown.chunks_mut(MOST)) {
        if poll(entries) {
            continue;
        }
        for (entry, unknown) in entries.iter_mut().zip(unknown) {
            *unknown = !poll(std::slice::from_mut(entry));
        }
    }
    unknown
}

/// Whether the number of a source still means its file, as far as inodes tell: see [`find_strangers`].
fn looks_same(node: &Node) -> bool {
    let Some((number, _)) = node.readiness() else { return true };
    File::of(number).ok() == node.file
}

/// Whether the number of a source still means its file.
///
/// **Blocking**: as [`find_strangers`].
pub(crate) fn is_same(node: &Arc<Node>) -> bool {
    find_strangers(std::slice::from_ref(node)) == [false]
}

/// Of which sources the number means another file by now, or none.
///
/// **Blocking**: of files that are alike (`syslet::source::Sort`) until the keeper has looked; it may be waiting for
/// the lock of the state. Of others never.
pub(crate) fn find_strangers(nodes: &[Arc<Node>]) -> Vec<bool> {
    let mut strange: Vec<_> = nodes.iter().map(|node| !looks_same(node)).collect();
    let alike = (0..nodes.len()).filter(|at| !strange[*at]);
    let (places, asked): (Vec<_>, Vec<_>) =
        alike.filter_map(|at| Some((at, nodes[at].to_be_compared()?))).unzip();
    if !asked.is_empty() {
        for (at, same) in places.into_iter().zip(source::are_same(asked)) {
            strange[at] = !same;
        }
    }
    strange
}

/// What is to be done with a source that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// There was no answer: to be looked at again.
    Unknown,
    /// Ready, for these events.
    Ready(u32),
    /// The number was closed, or means another file.
    Closed,
}

/// Looks at sources of readiness.
///
/// **Blocking**: as [`find_strangers`].
pub(crate) fn look(nodes: &[Arc<Node>]) -> Vec<Found> {
    let mut entries: Vec<_> = nodes
        .iter()
        .map(|node| node.readiness().map_or(entry(-1, 0), |(number, events)| entry(number, events)))
        .collect();
    let unknown = poll_all(&mut entries);
    let found = |((entry, unknown), node): ((&PollEntry, bool), &Arc<Node>)| {
        if unknown { Found::Unknown } else { found(entry, node) }
    };
    let mut found: Vec<_> = entries.iter().zip(unknown).zip(nodes).map(found).collect();
    // Of what is not ready nothing is told, and the rounds find out.
    let is_told = |at: &usize| matches!(found[*at], Found::Ready(_)) && nodes[*at].is_alike();
    let told: Vec<_> = (0..nodes.len()).filter(is_told).collect();
    if !told.is_empty() {
        let asked: Vec<_> = told.iter().map(|at| Arc::clone(&nodes[*at])).collect();
        for (at, strange) in told.into_iter().zip(find_strangers(&asked)) {
            if strange {
                found[at] = Found::Closed;
            }
        }
    }
    found
}

fn found(entry: &PollEntry, node: &Node) -> Found {
    match entry.found {
        0 => Found::Nothing,
        events if events & libc::POLLNVAL as u16 != 0 => Found::Closed,
        // Another file may be ready.
        _ if !looks_same(node) => Found::Closed,
        events => Found::Ready(u32::from(events)),
    }
}

/// Looks at a source that is about to be told: with another kind than readiness there is no answer. The keeper is not
/// asked, so that the lock of the state may be held.
pub(crate) fn look_last(node: &Node) -> Found {
    let Some((number, events)) = node.readiness() else { return Found::Unknown };
    let mut entries = [entry(number, events)];
    if poll(&mut entries) { found(&entries[0], node) } else { Found::Unknown }
}
