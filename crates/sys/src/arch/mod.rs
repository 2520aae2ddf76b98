//! The processor: system calls, thread pointer, context switch.
//!
//! A new architecture needs one folder here (or file) with the same names as `x86_64/`.

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub use x86_64::*;

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
compile_error!("syslet-sys knows x86-64 only: another architecture needs its place in src/arch/");
