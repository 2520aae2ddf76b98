//! What is served: hot, cold and slow files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use syslet_testfs::{Answer, Request, TestFs, fill};

use super::SLOW;
use super::load::{Page, Pages};
use crate::dice::Dice;
use crate::error::Trouble;
use crate::options::{ServerOptions, ServerWork};
use crate::scratch::Scratch;

/// Files of the hot set.
const HOT: usize = 100;

/// Size of a cold file.
const COLD_SIZE: u64 = 64 << 10;

/// Size of the slow file.
const SLOW_SIZE: u64 = 4096;

/// Numbers of contents: of the cold files, and of the file beside the hot ones.
const COLD_NUMBER: usize = 1000;
const OTHER_NUMBER: usize = 999;

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    /// Before the directory: it is unmounted first.
    pub(super) slow: io::Result<TestFs>,
    scratch: Scratch,
    pub(super) hot: Pages,
    pub(super) cold: Pages,
    size: u64,
}

impl Places {
    pub(super) fn make(options: &ServerOptions) -> Result<Self, Trouble> {
        let scratch = Scratch::make(&options.common.dir(), "server")?;
        let making = Trouble::io("making the files");
        let cold = if options.works().contains(&ServerWork::Cold) { options.cold() } else { 0 };
        let (hot, cold) = make(scratch.path(), options.size, cold).map_err(making)?;
        Ok(Self { slow: mount(scratch.path()), scratch, hot, cold, size: options.size })
    }

    pub(super) fn root(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// The page of the other requests.
    pub(super) fn other(&self, path: &'static str) -> Page {
        match path {
            "/slow/file" => Page::new(path, 0, SLOW_SIZE),
            _ => Page::new(path, OTHER_NUMBER, self.size),
        }
    }

    /// Has the kernel forget what it has of the cold files: where this is root, also names and inodes.
    pub(super) fn forget_cold(&self) -> Result<(), Trouble> {
        for page in self.cold.iter() {
            let forget = || {
                let file = File::open(self.scratch.path().join(&page.path[1..]))?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
                Ok(())
            };
            forget().map_err(Trouble::io("emptying the cache"))?;
        }
        let _ = fs::write("/proc/sys/vm/drop_caches", "2"); // who is not root has warm names
        Ok(())
    }
}

fn make(dir: &Path, size: u64, cold: usize) -> io::Result<(Pages, Pages)> {
    let make = |page: Page| {
        let path = dir.join(&page.path[1..]);
        let mut file = File::create_new(path)?;
        file.write_all(&page.body)?;
        // Nothing is left to be written back, which would hold up a read now and then.
        file.sync_all()?;
        Ok(page)
    };
    for name in ["hot", "cold"] {
        fs::create_dir(dir.join(name))?;
    }
    make(Page::new("/hot/other", OTHER_NUMBER, size))?;
    let hot: io::Result<Pages> =
        (0..HOT).map(|at| make(Page::new(&format!("/hot/{at}"), at, size))).collect();
    let page = |at| Page::new(&format!("/cold/{at}"), COLD_NUMBER + at, COLD_SIZE);
    let mut cold = (0..cold).map(|at| make(page(at))).collect::<io::Result<Vec<_>>>()?;
    Dice(3).shuffle(&mut cold);
    Ok((hot?, cold.into()))
}

fn mount(dir: &Path) -> io::Result<TestFs> {
    let at = dir.join("slow");
    fs::create_dir(&at)?;
    let slow = |request: &Request| match request {
        Request::Read { offset: 0, .. } => Answer { delay: SLOW, ..Answer::NOW },
        _ => Answer::NOW,
    };
    let file = syslet_testfs::File { name: "file".to_owned(), size: SLOW_SIZE };
    TestFs::mount(at, vec![file], slow)
}

/// The bytes of a file.
pub(super) fn contents(number: usize, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    fill(number, 0, &mut bytes);
    bytes
}
