#![doc = include_str!("../README.md")]

mod adding;
mod aside;
mod batch;
mod chains;
mod child;
mod completions;
mod core;
mod doubts;
mod event;
mod inode;
mod landing;
mod level;
mod node;
mod queue;
mod ring;
mod signals;
mod source;
mod state;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;

pub use self::batch::Batch;
pub use self::event::{Event, Flags, Happened, Key, Kind};
pub use self::queue::{Changed, MOST_PLACES, Queue};
pub use self::ring::{RING_HEADER, RingHeader};
pub use self::source::{Clock, Source};
pub use self::stream::{Events, Next};
