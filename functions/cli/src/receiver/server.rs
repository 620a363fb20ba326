//! The accept loop: all connections live in it, so that they can be cut and none outlives it.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use base64_simd::STANDARD;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidegate_core::{Clock, Error, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use super::http::{App, Command, HangUp, router};
use super::options::{IdPlace, ReceiverOptions};
use super::store::{Store, Summary};

/// Connections at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 1024;

/// Connections that wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Requests at a time that a delay holds back.
const MAX_LATE: usize = 1024;

/// Time for a client to send the head of its next request; an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for running requests when the receiver ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the port is tried again after a restart, and the pause between.
const REBIND_TRIES: u32 = 50;
const REBIND_PAUSE: Duration = Duration::from_millis(100);

/// A receiver that listens.
pub struct Receiver {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    commands: mpsc::Receiver<Command>,
    late: mpsc::Receiver<BoxFuture<'static, ()>>,
}

impl Receiver {
    /// Opens the store and listens. `environment` reads the variable that holds the credentials.
    pub async fn bind(
        options: ReceiverOptions,
        clock: Arc<dyn Clock>,
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self> {
        options.faults.check()?;
        if let IdPlace::Header(name) = &options.id {
            HeaderName::try_from(name.as_str())
                .map_err(|error| Error::invalid(format!("'{name}' is no header")).with_source(error))?;
        }
        let authorization = authorization(&options, environment)?;
        let store = Store::open(options.store.as_deref())?;
        let listener = listen(options.port)?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::unavailable("the receiver's address is unknown").with_source(error))?;
        let (commands_in, commands) = mpsc::channel(8);
        let (late_in, late) = mpsc::channel(MAX_LATE);
        let app = Arc::new(App {
            faults: Mutex::new(options.faults.clone()),
            store: Mutex::new(store),
            options,
            last_request: AtomicU64::new(millis(clock.elapsed())),
            clock,
            authorization,
            late: late_in,
            commands: commands_in,
        });
        Ok(Self { app, listener, address, commands, late })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` ends or a client asks for the end. Running requests get a moment to finish.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Summary> {
        tokio::pin!(stop);
        let router = router(Arc::clone(&self.app));
        let (stopping, stopped) = watch::channel(false);
        let mut connections = FuturesUnordered::new();
        let mut late = Late::new();
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = idle(&self.app) => break,
                command = self.commands.recv() => match command {
                    Some(Command::Restart(pause)) => {
                        connections.clear();
                        late.clear();
                        while self.late.try_recv().is_ok() {}
                        self = self.restart(pause).await?;
                    }
                    Some(Command::Stop) | None => break,
                },
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => connections.push(connection(stream, router.clone(), stopped.clone())),
                    // Out of file descriptors, as a rule: connections that end give some back.
                    Err(_) => self.app.clock.sleep(REBIND_PAUSE).await,
                },
                Some(()) = connections.next(), if !connections.is_empty() => {}
                Some(work) = self.late.recv(), if late.len() < MAX_LATE => late.push(work),
                Some(()) = late.next(), if !late.is_empty() => {}
            }
        }
        stopping.send_replace(true);
        tokio::select! {
            () = drain(&mut connections, &mut late, &mut self.late) => {}
            () = self.app.clock.sleep(DRAIN_TIMEOUT) => {}
        }
        let store = self.app.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        store.summary()
    }

    /// Refuses connections for `pause`, then listens on the same port again.
    async fn restart(mut self, pause: Duration) -> Result<Self> {
        let clock = Arc::clone(&self.app.clock);
        drop(self.listener);
        clock.sleep(pause).await;
        let mut tries = 0;
        self.listener = loop {
            match listen(self.address.port()) {
                Ok(listener) => break listener,
                Err(error) if tries == REBIND_TRIES => return Err(error),
                Err(_) => tries += 1,
            }
            clock.sleep(REBIND_PAUSE).await;
        };
        while self.commands.try_recv().is_ok_and(|command| command != Command::Stop) {}
        Ok(self)
    }
}

type Late = FuturesUnordered<BoxFuture<'static, ()>>;

/// Runs what is under way to its end.
async fn drain<C: Future<Output = ()>>(
    connections: &mut FuturesUnordered<C>,
    late: &mut Late,
    queue: &mut mpsc::Receiver<BoxFuture<'static, ()>>,
) {
    while !(connections.is_empty() && late.is_empty()) {
        tokio::select! {
            Some(()) = connections.next(), if !connections.is_empty() => {}
            Some(work) = queue.recv() => late.push(work),
            Some(()) = late.next(), if !late.is_empty() => {}
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ends when no request came for as long as the options say.
async fn idle(app: &App) {
    let Some(limit) = app.options.idle_exit.map(millis) else {
        return std::future::pending().await;
    };
    loop {
        let due = app.last_request.load(Ordering::Relaxed).saturating_add(limit);
        let now = millis(app.clock.elapsed());
        if now >= due {
            return;
        }
        app.clock.sleep(Duration::from_millis(due - now)).await;
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error| {
        Error::unavailable(format!("{address} cannot be listened on"))
            .with_source(error)
            .with_help("choose another --port, or 0 for any")
    })
}

fn authorization(
    options: &ReceiverOptions,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Option<String>> {
    let read = |name: &String| {
        environment(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::invalid(format!("the environment variable {name} is not set"))
                .with_help("it holds the credentials that the receiver asks for")
        })
    };
    match (&options.bearer_env, &options.basic_env) {
        (Some(name), _) => Ok(Some(format!("Bearer {}", read(name)?))),
        (None, Some(name)) => Ok(Some(format!("Basic {}", STANDARD.encode_to_string(read(name)?)))),
        (None, None) => Ok(None),
    }
}

/// One connection until it ends; requests that meet a fault close it without an answer.
async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    // Without it an answer may wait for the client's acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = inner.call(request);
        async move {
            match answer.await {
                Ok(response) if response.extensions().get::<HangUp>().is_some() => {
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
                }
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    // A broken connection is its client's affair.
    let _ = connection.await;
}
