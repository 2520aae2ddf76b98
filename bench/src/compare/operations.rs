//! The works as operations of `syslet::fs`.

use std::io;

use syslet::Operation;
use syslet::fs::{self, File, OpenOptions};

use super::files::{LARGEST, LISTED, Targets};
use super::raw::whole;
use crate::error::Trouble;
use crate::options::CompareWork;

/// Files and buffers for operations, which are begun together and then waited for.
#[derive(Debug)]
pub(super) struct Operations {
    targets: &'static Targets,
    file: File,
    cold: File,
    buffers: Vec<Vec<u8>>,
}

impl Operations {
    pub(super) fn new(targets: &'static Targets, depth: usize) -> Result<Self, Trouble> {
        let file = OpenOptions::new().read(true).write(true).open(targets.file.path).wait();
        let file = file.map_err(Trouble::io("opening the file"))?;
        let cold = File::open(targets.cold.path).wait();
        let cold = cold.map_err(Trouble::io("opening the cold file"))?;
        Ok(Self { targets, file, cold, buffers: vec![vec![0; LARGEST]; depth] })
    }

    /// Does the work once in each slot.
    pub(super) fn together(&mut self, work: CompareWork) -> io::Result<()> {
        let targets = self.targets;
        let path = targets.file.path;
        match work {
            CompareWork::Metadata | CompareWork::ColdMetadata => {
                self.step(|_| fs::metadata(targets.named(work).path)).map(drop)
            }
            CompareWork::OpenClose => self.step(|_| File::open(path)).map(drop),
            CompareWork::Read4k
            | CompareWork::Read64k
            | CompareWork::Read1m
            | CompareWork::ColdRead4k
            | CompareWork::ColdRead64k => {
                self.moved(work, |file, buffer| file.read_at(buffer, targets.read_at(work)))
            }
            CompareWork::ReadFile => {
                let read = self.step(|_| fs::read(targets.whole.path))?;
                read.into_iter().try_for_each(|bytes| whole(bytes.len(), work))
            }
            CompareWork::WriteFile => {
                let bytes = |at: usize| self.buffers[at][..work.bytes()].to_vec();
                self.step(|at| fs::write(targets.slot(at).written.path, bytes(at))).map(drop)
            }
            CompareWork::Write4k => {
                self.moved(work, |file, buffer| file.write_at(buffer, targets.write_at(work)))
            }
            CompareWork::Fsync => {
                self.moved(work, |file, buffer| file.write_at(buffer, targets.write_at(work)))?;
                self.step(|_| self.file.sync_all()).map(drop)
            }
            CompareWork::Unlink => {
                drop(self.step(|at| File::create(targets.slot(at).new.path))?);
                self.step(|at| fs::remove_file(targets.slot(at).new.path)).map(drop)
            }
            CompareWork::Mkdir => {
                self.step(|at| fs::create_dir(targets.slot(at).new.path))?;
                self.step(|at| fs::remove_dir(targets.slot(at).new.path)).map(drop)
            }
            CompareWork::Rename => {
                let names = |at| (targets.slot(at).moving.path, targets.slot(at).other.path);
                self.step(|at| fs::rename(names(at).0, names(at).1))?;
                self.step(|at| fs::rename(names(at).1, names(at).0)).map(drop)
            }
            CompareWork::Getdents => {
                for listed in self.step(|_| fs::read_dir(targets.listed.path))? {
                    listed_whole(listed.filter_map(Result::ok).count())?;
                }
                Ok(())
            }
            CompareWork::Getxattr | CompareWork::Getaddrinfo => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// Begins one in each slot, and waits for all.
    fn step<T>(&self, begin: impl Fn(usize) -> Operation<io::Result<T>>) -> io::Result<Vec<T>> {
        let begun: Vec<_> = (0..self.buffers.len()).map(begin).collect();
        begun.into_iter().map(Operation::wait).collect()
    }

    fn moved(
        &mut self,
        work: CompareWork,
        begin: impl Fn(&File, Vec<u8>) -> Operation<(io::Result<usize>, Vec<u8>)>,
    ) -> io::Result<()> {
        let Self { file, cold, buffers, .. } = self;
        let file = if work.is_cold() { cold } else { file };
        let begin = |buffer: &mut Vec<u8>| {
            let mut taken = std::mem::take(buffer);
            taken.resize(work.bytes(), 0);
            begin(file, taken)
        };
        let begun: Vec<_> = buffers.iter_mut().map(begin).collect();
        for (begun, buffer) in begun.into_iter().zip(buffers) {
            let (moved, back) = begun.wait();
            *buffer = back;
            whole(moved?, work)?;
        }
        Ok(())
    }
}

/// A directory of which some files were not seen.
pub(super) fn listed_whole(count: usize) -> io::Result<()> {
    if count == LISTED { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
