use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use futures_executor::{LocalPool, block_on};
use futures_util::task::LocalSpawnExt;

use crate::util::{Folder, Gate};

/// What the futures of the library do under any executor: hot, and waiting for each other.
async fn use_library(folder: Arc<Folder>, number: usize) -> std::io::Result<usize> {
    let path = folder.at(&number.to_string());
    syslet::fs::write(&path, vec![number as u8; number]).await?;
    let file = syslet::fs::File::open(&path).await?;
    let (count, buf) = file.read_at(vec![0; 4096], 0).await;
    assert_eq!(count?, number);
    assert!(buf[..number].iter().all(|&byte| byte == number as u8));
    let gate = Arc::new(Gate::new());
    let waits = Arc::clone(&gate);
    let away = syslet::threadlet(move || waits.pass());
    gate.open();
    away.await;
    syslet::fs::remove_file(&path).await?;
    Ok(syslet::threadlet(move || number).await)
}

#[test]
fn smols_executor_drives_threadlets_and_files() {
    let folder = Arc::new(Folder::new());
    let body = || {
        let executor = async_executor::Executor::new();
        let tasks: Vec<_> = (1..50)
            .map(|number| executor.spawn(use_library(Arc::clone(&folder), number)))
            .collect();
        block_on(executor.run(async {
            for (at, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.expect("files can be used"), at + 1);
            }
        }));
    };
    body();
    syslet::with_attached(body).expect("the thread can be attached");
}

#[test]
fn smols_executor_goes_on_with_others_while_a_closure_sleeps() {
    syslet::with_attached(|| {
        let executor = async_executor::Executor::new();
        let gate = Arc::new(Gate::new());
        let waits = Arc::clone(&gate);
        let sleeps = executor.spawn(async move { syslet::threadlet(move || waits.pass()).await });
        let opens = executor.spawn(async move { gate.open() });
        block_on(executor.run(async { (sleeps.await, opens.await) }));
    })
    .expect("the thread can be attached");
}

#[test]
fn local_pool_drives_threadlets_and_files() {
    let folder = Arc::new(Folder::new());
    syslet::with_attached(|| {
        let mut pool = LocalPool::new();
        let done = Rc::new(Cell::new(0)); // tasks that are not `Send`
        for number in 1..50 {
            let (folder, done) = (Arc::clone(&folder), Rc::clone(&done));
            let task = async move {
                assert_eq!(use_library(folder, number).await.expect("files can be used"), number);
                done.set(done.get() + 1);
            };
            pool.spawner().spawn_local(task).expect("the pool is there");
        }
        pool.run();
        assert_eq!(done.get(), 49);
    })
    .expect("the thread can be attached");
}
