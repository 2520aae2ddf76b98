use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use syslet_tokio::{fs, unblock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::util::{Folder, current_thread, multi_thread, timely};

/// One of a thousand: which kind it is depends on its number.
async fn one(number: usize, folder: Arc<Folder>, sum: Arc<AtomicUsize>) -> std::io::Result<()> {
    for round in 0..5 {
        match (number + round) % 5 {
            0 => {
                let slept = Duration::from_micros(100 * (number as u64 % 10));
                unblock(move || std::thread::sleep(slept)).await?;
            }
            1 => assert!(fs::metadata(folder.path()).await?.is_dir()),
            2 => tokio::time::sleep(Duration::from_micros(number as u64 % 700)).await,
            3 => {
                let path = folder.at(&format!("{number}-{round}"));
                let mut file = fs::File::create_new(&path).await?;
                file.write_all(&number.to_ne_bytes()).await?;
                file.flush().await?;
                drop(file);
                let mut bytes = [0; 8];
                fs::File::open(&path).await?.read_exact(&mut bytes).await?;
                assert_eq!(usize::from_ne_bytes(bytes), number);
                fs::remove_file(&path).await?;
            }
            _ => {
                let sum = Arc::clone(&sum);
                unblock(move || sum.fetch_add(1, Ordering::SeqCst)).await?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_thousand_tasks_on_more_workers_than_cpus() {
    let (folder, sum) = (Arc::new(Folder::new()), Arc::new(AtomicUsize::new(0)));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = multi_thread(4 * cpus);
    runtime.block_on(async {
        let spawn = |at| tokio::spawn(one(at, Arc::clone(&folder), Arc::clone(&sum)));
        let tasks: Vec<_> = (0..1000).map(spawn).collect();
        for task in tasks {
            timely(task).await.expect("it does not panic").expect("files can be used");
        }
    });
    drop(runtime);
    assert_eq!(sum.load(Ordering::SeqCst), 1000);
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 0);
}

#[test]
fn tasks_of_a_local_set() {
    let (folder, sum) = (Arc::new(Folder::new()), Arc::new(AtomicUsize::new(0)));
    let body = async || {
        let local = tokio::task::LocalSet::new();
        let spawn = |at| local.spawn_local(one(at, Arc::clone(&folder), Arc::clone(&sum)));
        let tasks: Vec<_> = (0..100).map(spawn).collect();
        local
            .run_until(async {
                for task in tasks {
                    timely(task).await.expect("it does not panic").expect("files can be used");
                }
            })
            .await;
    };
    let runtime = current_thread();
    runtime.block_on(body());
    syslet_tokio::block_on(&runtime, body()).expect("the thread can be attached");
    assert_eq!(sum.load(Ordering::SeqCst), 200);
}
