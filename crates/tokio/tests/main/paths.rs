use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use syslet_tokio::fs;

use crate::util::{Folder, current_thread, on_worker, timely};

/// Runs the same body with our functions and with tokio's: one `use` is all that differs.
macro_rules! same_as_tokio {
    ($name:ident, $folder:ident, $body:block) => {
        #[test]
        fn $name() {
            mod ours {
                use crate::util::Folder;
                use std::sync::Arc;
                use syslet_tokio::fs;
                #[allow(unused_imports, reason = "not every body needs all")]
                use super::*;
                pub(super) async fn body($folder: Arc<Folder>) -> std::io::Result<Vec<String>> $body
            }
            mod theirs {
                use crate::util::Folder;
                use std::sync::Arc;
                use tokio::fs;
                #[allow(unused_imports, reason = "not every body needs all")]
                use super::*;
                pub(super) async fn body($folder: Arc<Folder>) -> std::io::Result<Vec<String>> $body
            }
            let expected = on_worker(1, theirs::body(Arc::new(Folder::new()))).expect("tokio can");
            let seen = on_worker(1, ours::body(Arc::new(Folder::new()))).expect("so can we");
            assert_eq!(seen, expected);
            let queued = current_thread().block_on(timely(ours::body(Arc::new(Folder::new()))));
            assert_eq!(queued.expect("so can we"), expected);
        }
    };
}

same_as_tokio!(functions_on_paths_do_what_tokios_do, folder, {
    let mut seen = Vec::new();
    let at = |name: &str| folder.at(name);
    fs::write(at("a"), "contents").await?;
    fs::write(at("b"), vec![1, 2, 3]).await?;
    fs::write(String::from(at("c").to_str().unwrap()), b"x").await?;
    seen.push(fs::read_to_string(at("a")).await?);
    seen.push(format!("{:?}", fs::read(at("b")).await?));
    seen.push(format!("{}", fs::copy(at("a"), at("d")).await?));
    fs::rename(at("d"), at("e")).await?;
    fs::hard_link(at("e"), at("f")).await?;
    fs::symlink("e", at("g")).await?;
    seen.push(format!("{:?}", fs::read_link(at("g")).await?));
    seen.push(format!("{:?}", fs::canonicalize(at("g")).await?.file_name()));
    seen.push(format!("{}", fs::metadata(at("g")).await?.is_file()));
    seen.push(format!("{}", fs::symlink_metadata(at("g")).await?.is_symlink()));
    seen.push(format!("{}", fs::try_exists(at("g")).await?));
    seen.push(format!("{}", fs::try_exists(at("z")).await?));
    fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o600)).await?;
    seen.push(format!("{:o}", fs::metadata(at("a")).await?.permissions().mode()));
    fs::create_dir(at("dir")).await?;
    fs::create_dir_all(at("dir/deep/er")).await?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(at("dir/more/yet")).await?;
    seen.push(format!("{:o}", fs::metadata(at("dir/more")).await?.permissions().mode()));
    seen.push(format!("{:?}", fs::remove_dir(at("dir")).await.unwrap_err().kind()));
    seen.push(format!("{:?}", fs::create_dir(at("dir")).await.unwrap_err().kind()));
    fs::remove_dir_all(at("dir/deep")).await?;
    fs::remove_dir(at("dir/more/yet")).await?;
    fs::remove_file(at("f")).await?;
    seen.push(format!("{:?}", fs::metadata(at("f")).await.unwrap_err()));
    seen.push(format!("{:?}", fs::read(at("nul\0")).await.unwrap_err().kind()));
    seen.push(format!("{:?}", fs::read_to_string(at("dir")).await.unwrap_err().kind()));
    let options = fs::OpenOptions::new().read(true).open(at("none")).await;
    seen.push(format!("{:?}", options.unwrap_err()));
    let mut names = BTreeSet::new();
    let mut entries = fs::read_dir(folder.path()).await?;
    while let Some(entry) = entries.next_entry().await? {
        let kind = entry.file_type().await?;
        let length = entry.metadata().await?.len();
        assert!(entry.ino() != 0 && entry.path().starts_with(folder.path()));
        names.insert(format!(
            "{:?} {kind:?} {}",
            entry.file_name(),
            if kind.is_dir() { 0 } else { length }
        ));
    }
    seen.extend(names);
    seen.push(format!("{:?}", fs::read_dir(at("none")).await.unwrap_err().kind()));
    Ok(seen)
});

#[test]
fn large_directories_are_listed_whole() {
    let folder = Arc::new(Folder::new());
    let names: BTreeSet<String> = (0..1500).map(|at| format!("entry-{at}")).collect();
    for name in &names {
        std::fs::write(folder.at(name), "").expect("a file can be made");
    }
    let list = |folder: Arc<Folder>| async move {
        let mut seen = BTreeSet::new();
        let mut entries = fs::read_dir(folder.path()).await.expect("it is there");
        while let Some(entry) = entries.next_entry().await.expect("it can be read") {
            assert!(seen.insert(entry.file_name().into_string().expect("ASCII")), "listed twice");
        }
        seen
    };
    assert_eq!(on_worker(1, list(Arc::clone(&folder))), names);
    assert_eq!(current_thread().block_on(list(folder)), names);
}

#[test]
fn nothing_happens_before_a_future_is_polled() {
    let folder = Folder::new();
    on_worker(1, async move {
        let write = fs::write(folder.at("lazy"), "x");
        let missing = std::fs::metadata(folder.at("lazy")).expect_err("as for tokio's");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        write.await.expect("it can be written");
        assert!(fs::try_exists(folder.at("lazy")).await.expect("it can be asked"));
    });
}

#[test]
fn long_and_borrowed_paths() {
    let folder = Folder::new();
    on_worker(1, async move {
        let mut path = folder.path().to_owned();
        for _ in 0..10 {
            path.push("a-rather-long-name-of-a-directory-that-is-one-of-many");
            let borrowed: &std::path::Path = &path;
            fs::create_dir(borrowed).await.expect("it can be made");
            assert!(fs::metadata(&path).await.expect("it is there").is_dir());
        }
    });
}
