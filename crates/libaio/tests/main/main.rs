//! The drop-in against the system's library: the same programs with both, and the outcomes compared.
//!
//! What a machine lacks (fio, qemu-img, MariaDB, FUSE) is not tested there, and a line says so.

mod answers;
mod cancels;
mod databases;
mod edges;
mod fio;
mod images;
mod killed;
mod load;
mod slow;
mod symbols;
mod util;
