//! The endpoint: sockets, threads, and an orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::path::check_bucket_name;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3ErrorCode, s3_error};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::drain::SharedBody;
use crate::error::StartError;
use crate::folder::Folder;
use crate::multipart::remove_abandoned;
use crate::operations::Operations;

/// Enough for one disk; each waits for it at most.
const DISK_THREADS_MAX: usize = 8;
const NETWORK_THREADS: usize = 2;

/// How long requests in flight may take when the endpoint closes.
const DRAIN: Duration = Duration::from_secs(5);

/// A connection that never sends its request is closed (a guess).
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The longest XML document: 1,000 deletions or 10,000 parts fit in.
const XML_BYTES_MAX: usize = 8 << 20;

/// What to serve, where and to whom.
#[derive(Debug, Clone)]
pub struct Config {
    pub root: PathBuf,
    pub host: String,
    /// 0 takes a free port.
    pub port: u16,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    /// Buckets that are made if they are missing.
    pub buckets: Vec<String>,
    /// Whether an object is on the disk before its upload is answered.
    pub sync: bool,
}

/// An endpoint that serves until it is closed or dropped.
pub struct Server {
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub fn start(config: Config) -> Result<Server, StartError> {
        let listener = listen(&config)?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError::BadAddress(config.host.clone(), error))?;
        let service = build_service(&config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .max_blocking_threads(DISK_THREADS_MAX)
            .thread_name("flyte-blobs")
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::NoThreads)?;
        let (stop, stopped) = oneshot::channel();
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)
                .map_err(|error| StartError::CannotListen(address, error))?
        };
        let accepting = runtime.spawn(serve(listener, service, stopped));
        Ok(Server {
            address,
            running: Mutex::new(Some(Running {
                runtime,
                stop,
                accepting,
            })),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, answers those in flight, ends the threads; a second call finds nothing to do.
    pub fn close(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            let _ = running.stop.send(());
            let _ = running.runtime.block_on(running.accepting);
            running.runtime.shutdown_timeout(DRAIN);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let bad_address = |error| StartError::BadAddress(config.host.clone(), error);
    let wanted = (config.host.as_str(), config.port)
        .to_socket_addrs()
        .map_err(bad_address)?
        .next()
        .ok_or_else(|| bad_address(io::ErrorKind::NotFound.into()))?;
    let cannot_listen = |error| StartError::CannotListen(wanted, error);
    let listener = TcpListener::bind(wanted).map_err(cannot_listen)?;
    listener.set_nonblocking(true).map_err(cannot_listen)?;
    Ok(listener)
}

fn build_service(config: &Config) -> Result<S3Service, StartError> {
    let bad_folder = |error| StartError::BadFolder(config.root.display().to_string(), error);
    let folder = Folder::open(&config.root, config.sync).map_err(bad_folder)?;
    remove_abandoned(&folder, SystemTime::now()).map_err(bad_folder)?;
    for bucket in &config.buckets {
        if !check_bucket_name(bucket) {
            return Err(StartError::BadBucket(bucket.clone()));
        }
        match folder.create_bucket(bucket) {
            Err(error) if error.code() != &S3ErrorCode::BucketAlreadyOwnedByYou => {
                let error = io::Error::other(error.to_string());
                return Err(bad_folder(error));
            }
            _ => {}
        }
    }
    let mut builder = S3ServiceBuilder::new(Operations {
        folder: Arc::new(folder),
        region: config.region.clone(),
    });
    builder.set_auth(SimpleAuth::from_single(
        config.access_key.clone(),
        config.secret_key.clone(),
    ));
    let mut limits = S3Config::default();
    limits.xml_max_body_size = XML_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
    Ok(builder.build())
}

async fn serve(
    listener: tokio::net::TcpListener,
    service: S3Service,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(HEADER_TIMEOUT);
    loop {
        let accepted = match select(pin!(listener.accept()), &mut stopped).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Small answers must not wait for the client's acknowledgement; a socket without the option works as well.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let handler = service_fn(move |request| answer(service.clone(), request));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), handler));
        // An error here is a client that went away.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    if request.method() == Method::GET && request.uri().path() == "/healthcheck" {
        return Ok(Response::new(Body::from("ok".to_owned())));
    }
    // Uploads from web forms would be read into memory before their signature is known to be good.
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"multipart/form-data")
    });
    if request.method() == Method::POST && is_form {
        let error = s3_error!(
            NotImplemented,
            "uploads from web forms are not supported here"
        );
        return error
            .to_http_response()
            .map_err(|error| HttpError::new(error.into()));
    }
    let is_announced = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let body = SharedBody::new(body);
    let request = Request::from_parts(head, Body::http_body(body.clone()));
    let mut response = service.call(request).await?;
    if is_refusal(&response) && !body.is_end_stream() {
        // A client that asked first sends its body only when it is read.
        let is_drained = !is_announced && body.drain().await;
        if !is_drained {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
    Ok(response)
}

fn is_refusal(response: &Response<Body>) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}
