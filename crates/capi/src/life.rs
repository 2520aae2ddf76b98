//! Which life of the process this is: a forked child begins a new one.

pub(crate) use syslet_dropin::life::{PerLife, counter, now};
