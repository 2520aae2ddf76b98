//! What a call that waits for several events has handed out and goes on being ready.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::node::Node;
use crate::state::{Fold, State};

/// Level-triggered sources whose events a call that waits for more has handed out: they are not looked at again
/// before it is over, or it would hand them out twice.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    pub(crate) keys: HashSet<(u32, u64), BuildHasherDefault<Fold>>,
    pub(crate) nodes: Vec<Arc<Node>>,
}

impl Aside {
    pub(crate) fn put(&mut self, state: &mut State) {
        let is_ours = |node: &mut Arc<Node>| {
            let key = node.source.key;
            self.keys.contains(&(key.kind as u32, key.id))
        };
        self.nodes.extend(state.levels.extract_if(.., is_ours));
    }
}
