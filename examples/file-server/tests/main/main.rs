//! The server answers as RFC 9110 has it, with what std reads of the same files, in every way to files.

mod away;
mod changing;
mod client;
mod conditions;
mod hostile;
mod plain;
mod ranges;
mod served;
