//! The guide. Its chapters are in `chapters/`, to be read there, or as a book by `mdbook serve docs`; this crate
//! is here so that their examples are compiled and run as tests.

#![doc = include_str!("chapters/idea.md")]
#![doc = include_str!("chapters/surfaces.md")]
#![doc = include_str!("chapters/tokio.md")]
#![doc = include_str!("chapters/c.md")]
#![doc = include_str!("chapters/drop-ins.md")]
#![doc = include_str!("chapters/soundness.md")]
#![doc = include_str!("chapters/tuning.md")]
#![doc = include_str!("chapters/not-for.md")]
#![doc = include_str!("chapters/figures.md")]
#![doc = include_str!("chapters/targets.md")]
