//! `syslet run`: unmodified programs with the drop-in libraries in front.

mod ends;
mod libaio;
mod refusals;
mod reports;
mod util;
