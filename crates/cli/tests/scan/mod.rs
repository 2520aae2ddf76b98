//! `syslet scan`.

mod content;
mod modes;
mod odd;
mod told;
