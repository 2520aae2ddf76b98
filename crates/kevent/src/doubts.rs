//! What only the keeper can say before it is handed out.
//!
//! With `LAST_CHECK` a source is looked at under the lock, as it is handed out. Whether the number of a file that
//! shares its inode was given to another only the keeper knows, and it may be waiting for the lock: so it is asked
//! without. What it says is for the one take that it was asked for: it holds while the lock is held in which that is
//! done, and is forgotten with it, or a number that is closed later would be vouched for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::level;
use crate::node::Node;

/// Sources that are asked about, each with the turn for which it is: one that was handed out meanwhile and has come
/// again is another's to ask about, as its number may have changed after the answer.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    nodes: Vec<Arc<Node>>,
    turns: Vec<u32>,
    strange: Vec<bool>,
}

impl Doubts {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// To who has the lock of the state, as what follows but [`ask`](Self::ask).
    pub(crate) fn note(&mut self, node: &Arc<Node>) {
        self.nodes.push(Arc::clone(node));
        self.turns.push(node.turn());
    }

    /// **Blocking**: as [`level::find_strangers`]. Without the lock.
    pub(crate) fn ask(&mut self) {
        self.strange = level::find_strangers(&self.nodes);
    }

    /// The answers hold from here on, until [`end`](Self::end).
    pub(crate) fn settle(&self) {
        for ((node, turn), strange) in self.nodes.iter().zip(&self.turns).zip(&self.strange) {
            if node.turn() != *turn || !node.queued.load(Ordering::Relaxed) {
                continue;
            }
            if *strange {
                node.error.store(libc::EBADF, Ordering::Relaxed);
            } else {
                node.vouched.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn end(&self) {
        self.nodes.iter().for_each(|node| node.vouched.store(false, Ordering::Relaxed));
    }
}
