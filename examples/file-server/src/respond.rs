//! From a request to its response.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};

use crate::body::FileBody;
use crate::condition::{Asked, Decision};
use crate::files::{self, Files, Job, Opened};
use crate::media::media_type;
use crate::root::Root;
use crate::target::resolve;

/// Answers requests. Cloned for each connection.
#[derive(Debug, Clone)]
pub(crate) struct Responder {
    pub(crate) root: Arc<Root>,
    pub(crate) files: Files,
    /// Failures are not told on standard error.
    pub(crate) quiet: bool,
}

impl Responder {
    pub(crate) async fn respond(self, request: Request<Incoming>) -> Response<FileBody> {
        let get = match *request.method() {
            Method::GET => true,
            Method::HEAD => false,
            _ => return with_allow(plain(StatusCode::METHOD_NOT_ALLOWED)),
        };
        let path = request.uri().path();
        let file = match resolve(self.root.path(), path) {
            Ok(file) => file,
            Err(status) => {
                self.tell(path, status, &"the path names no file");
                return plain(status);
            }
        };
        let kind = media_type(&file);
        let job = Job { root: Arc::clone(&self.root), asked: Asked::new(get, request.headers()) };
        match files::open(self.files, file, job).await {
            Ok(opened) => answer(opened, kind, get),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                to_directory(path, &request)
            }
            Err(error) => {
                let status = status_of(&error);
                self.tell(path, status, &error);
                plain(status)
            }
        }
    }

    fn tell(&self, path: &str, status: StatusCode, why: &dyn std::fmt::Display) {
        if !self.quiet {
            eprintln!("file-server: {path}: {}: {why}", status.as_u16());
        }
    }
}

fn answer(opened: Opened, kind: &'static str, get: bool) -> Response<FileBody> {
    let Opened { meta, decision, first, source } = opened;
    let mut head = Response::builder().header(header::ETAG, &meta.tag);
    if let Some(modified) = meta.modified.filter(|time| *time <= SystemTime::now()) {
        head = head.header(header::LAST_MODIFIED, httpdate::fmt_http_date(modified));
    }
    let (status, range) = match decision {
        Decision::NotModified => return finish(head, StatusCode::NOT_MODIFIED, FileBody::of("")),
        Decision::PreconditionFailed => return plain(StatusCode::PRECONDITION_FAILED),
        Decision::Unsatisfiable => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            let all = format!("bytes */{}", meta.size);
            insert(&mut response, header::CONTENT_RANGE, &all);
            return response;
        }
        Decision::Whole => (StatusCode::OK, 0..meta.size),
        Decision::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
        head = head.header(header::CONTENT_RANGE, part);
    }
    let length = range.end - range.start;
    head = head
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, length);
    let body = if get { FileBody::of_file(first, length, source) } else { FileBody::of("") };
    finish(head, status, body)
}

/// A directory without its slash: links in its index would be wrong.
fn to_directory(path: &str, request: &Request<Incoming>) -> Response<FileBody> {
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    // Two slashes at the start would be the name of another server.
    let place = format!("/{}/{query}", path.trim_matches('/'));
    let mut response = plain(StatusCode::MOVED_PERMANENTLY);
    insert(&mut response, header::LOCATION, &place);
    response
}

fn status_of(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => StatusCode::NOT_FOUND,
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => match error.raw_os_error() {
            // Links in a circle; a socket, or a device that is not there.
            Some(libc::ELOOP | libc::ENXIO | libc::ENODEV) => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// A response that only says its status.
fn plain(status: StatusCode) -> Response<FileBody> {
    let text = format!("{status}\n");
    let head = Response::builder().header(header::CONTENT_TYPE, media_type(Path::new(".txt")));
    finish(head, status, FileBody::of(text))
}

fn with_allow(mut response: Response<FileBody>) -> Response<FileBody> {
    insert(&mut response, header::ALLOW, "GET, HEAD");
    response
}

fn insert(response: &mut Response<FileBody>, name: header::HeaderName, value: &str) {
    // Made of numbers and of what was a request's target: always a value.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn finish(head: Builder, status: StatusCode, body: FileBody) -> Response<FileBody> {
    head.status(status).body(body).expect("the headers are made of numbers and constants")
}
