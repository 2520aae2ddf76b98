//! Any sequence of operations gives what it gives with tokio's file.

use std::io::SeekFrom;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::util::{Folder, current_thread, on_worker};

#[derive(Debug, Clone)]
enum Op {
    Read(usize),
    ReadExact(usize),
    Write(u8, usize),
    WriteVectored(u8, usize, usize),
    Start(u64),
    Current(i64),
    End(i64),
    Flush,
    SetLen(u64),
    Metadata,
    Sync,
    MaxBufSize(usize),
    Position,
    /// Goes on with a clone, which shares the position.
    Clone,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..200).prop_map(Op::Read),
        1 => (0usize..200).prop_map(Op::ReadExact),
        4 => (any::<u8>(), 0usize..300).prop_map(|(byte, count)| Op::Write(byte, count)),
        1 => (any::<u8>(), 0usize..99, 0usize..99).prop_map(|(b, x, y)| Op::WriteVectored(b, x, y)),
        1 => (0u64..600).prop_map(Op::Start),
        2 => (-300i64..300).prop_map(Op::Current),
        1 => (-600i64..100).prop_map(Op::End),
        1 => Just(Op::Flush),
        1 => (0u64..600).prop_map(Op::SetLen),
        1 => Just(Op::Metadata),
        1 => Just(Op::Sync),
        1 => (1usize..150).prop_map(Op::MaxBufSize),
        1 => Just(Op::Position),
        1 => Just(Op::Clone),
    ]
}

/// What the operations answered, and what is in the file then.
macro_rules! outcomes {
    ($file:ty, $path:expr, $ops:expr) => {{
        let (path, ops): (PathBuf, Vec<Op>) = ($path, $ops);
        std::fs::write(&path, (0..=255).collect::<Vec<u8>>()).expect("it can be written");
        let mut options = <$file>::options();
        let mut file = options.read(true).write(true).open(&path).await.expect("it is there");
        let mut answers = Vec::new();
        for op in ops {
            let answer = match op {
                Op::Read(count) => {
                    let mut buf = vec![0; count];
                    file.read(&mut buf).await.map(|count| format!("{:?}", &buf[..count]))
                }
                Op::ReadExact(count) => {
                    let mut buf = vec![0; count];
                    file.read_exact(&mut buf).await.map(|_| format!("{buf:?}"))
                }
                Op::Write(byte, count) => {
                    file.write(&vec![byte; count]).await.map(|count| count.to_string())
                }
                Op::WriteVectored(byte, one, other) => {
                    let (one, other) = (vec![byte; one], vec![!byte; other]);
                    let slices = [std::io::IoSlice::new(&one), std::io::IoSlice::new(&other)];
                    file.write_vectored(&slices).await.map(|count| count.to_string())
                }
                Op::Start(to) => file.seek(SeekFrom::Start(to)).await.map(|at| at.to_string()),
                Op::Current(by) => file.seek(SeekFrom::Current(by)).await.map(|at| at.to_string()),
                Op::End(by) => file.seek(SeekFrom::End(by)).await.map(|at| at.to_string()),
                Op::Flush => file.flush().await.map(|()| String::new()),
                Op::SetLen(len) => file.set_len(len).await.map(|()| String::new()),
                // tokio's do not wait for what is in progress here.
                Op::Metadata => match file.flush().await {
                    Ok(()) => file.metadata().await.map(|metadata| metadata.len().to_string()),
                    Err(error) => Err(error),
                },
                Op::Sync => file.sync_all().await.map(|()| String::new()),
                Op::MaxBufSize(size) => {
                    file.set_max_buf_size(size);
                    Ok(String::new())
                }
                Op::Position => file.stream_position().await.map(|at| at.to_string()),
                Op::Clone => match file.try_clone().await {
                    Ok(clone) => {
                        file = clone;
                        Ok(String::new())
                    }
                    Err(error) => Err(error),
                },
            };
            answers.push(answer.map_err(|error| error.kind()));
        }
        drop(file.into_std().await);
        (answers, std::fs::read(&path).expect("it can be read"))
    }};
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn file_answers_as_tokios(ops in vec(op(), 1..60)) {
        let folder = Folder::new();
        let (ours, theirs) = (folder.at("ours"), folder.at("theirs"));
        let expected = {
            let ops = ops.clone();
            on_worker(1, async move { outcomes!(tokio::fs::File, theirs, ops) })
        };
        let inline = {
            let (ours, ops) = (ours.clone(), ops.clone());
            on_worker(1, async move { outcomes!(syslet_tokio::fs::File, ours, ops) })
        };
        prop_assert_eq!(&inline, &expected);
        let queued =
            current_thread().block_on(async { outcomes!(syslet_tokio::fs::File, ours, ops) });
        prop_assert_eq!(&queued, &expected);
    }
}
