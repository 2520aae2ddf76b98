//! A web service on a database whose library blocks: SQLite, by `rusqlite`. A query that finds its pages in
//! memory runs inline on the worker; one that waits for the disk, or for another writer's lock, leaves it.
//!
//! `cargo run --release -p syslet-tokio --example notes -- 127.0.0.1:8080 notes.db`
//!
//! - `POST /notes` stores the body, and answers its number;
//! - `GET /notes/NUMBER` answers it;
//! - `GET /inline` says how many closures were inline, and how many were handed off.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use rusqlite::{Connection, OptionalExtension};
use syslet_tokio::unblock;

/// One connection for each request at a time; kept for the next one.
#[derive(Clone)]
struct Notes {
    path: Arc<str>,
    free: Arc<Mutex<Vec<Connection>>>,
}

/// What goes wrong is told to the client in one line.
type Answer = Result<String, (StatusCode, String)>;

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

impl Notes {
    fn open(path: &str) -> rusqlite::Result<Self> {
        let notes = Self { path: path.into(), free: Arc::default() };
        let connection = notes.connect()?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        )?;
        notes.give_back(connection);
        Ok(notes)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&*self.path)?;
        // Others' locks are waited for: asleep, where a worker would be lost for as long.
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Runs a query where it stands, if it need not wait.
    async fn query<T: Send + 'static>(
        self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, (StatusCode, String)> {
        let run = move || {
            let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = free.map_or_else(|| self.connect(), Ok)?;
            let result = query(&connection);
            self.give_back(connection);
            result
        };
        unblock(run).await.map_err(internal)?.map_err(internal)
    }
}

async fn read(State(notes): State<Notes>, Path(id): Path<i64>) -> Answer {
    let find = move |database: &Connection| {
        let mut find = database.prepare_cached("SELECT text FROM notes WHERE id = ?1")?;
        find.query_row([id], |row| row.get(0)).optional()
    };
    let found: Option<String> = notes.query(find).await?;
    found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no note {id}\n")))
}

async fn write(State(notes): State<Notes>, text: String) -> Answer {
    let insert = move |database: &Connection| {
        database.prepare_cached("INSERT INTO notes (text) VALUES (?1)")?.insert([text])
    };
    Ok(format!("{}\n", notes.query(insert).await?))
}

async fn inline() -> String {
    let total = syslet::stats().total;
    format!("{} inline, {} handed off\n", total.inline, total.handed_off)
}

async fn serve(address: String, path: String) -> Result<(), Box<dyn std::error::Error>> {
    let notes = Notes::open(&path).map_err(|error| format!("{path}: {error}"))?;
    let listener = tokio::net::TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/notes", post(write))
        .route("/notes/{id}", get(read))
        .route("/inline", get(inline))
        .with_state(notes);
    Ok(axum::serve(listener, router).await?)
}

fn main() -> ExitCode {
    let [address, path] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap_or_else(|_| {
            eprintln!("usage: notes ADDRESS:PORT DATABASE");
            std::process::exit(2);
        });
    let run = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        runtime.block_on(serve(address, path))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notes: {error}");
            ExitCode::from(1)
        }
    }
}
