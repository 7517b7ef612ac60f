use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::access::{Access, Rules};
use crate::config::{FileTables, Identity, TableKind, Token};
use crate::{Admin, Fatal, Listener, Shutdown, TlsArgs};

/// Settings that every server has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address to listen on; port 0 takes a free one and logs it
    #[arg(long, env = "COGWHEEL_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Address of the port for /live, /ready, /metrics and plain gRPC health; none without it
    #[arg(long, env = "COGWHEEL_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Seconds that running work may take after a termination signal
    #[arg(long, env = "COGWHEEL_GRACE_SECONDS", value_name = "SECONDS",
        default_value_t = Limits::DEFAULT.grace.as_secs())]
    pub grace_seconds: u64,
    /// Calls at once on one connection; more wait
    #[arg(long, env = "COGWHEEL_MAX_STREAMS", value_name = "N", default_value_t = Limits::DEFAULT.max_streams,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_streams: u32,
    /// Connections at once. One more takes the place of the one that has been without work the longest; where each has
    /// some, it is closed
    #[arg(long, env = "COGWHEEL_MAX_CONNECTIONS", value_name = "N", default_value_t = Limits::DEFAULT.max_connections as u32,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_connections: u32,
    /// Seconds without a call after which a connection is closed
    #[arg(long, env = "COGWHEEL_CONNECTION_IDLE_SECONDS", value_name = "SECONDS",
        default_value_t = Limits::DEFAULT.connection_idle.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub connection_idle_seconds: u64,
    /// Seconds that a TLS handshake may take
    #[arg(long, env = "COGWHEEL_HANDSHAKE_SECONDS", value_name = "SECONDS",
        default_value_t = Limits::DEFAULT.handshake.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub handshake_seconds: u64,
    /// Bytes of one message; a generation's request has a limit of its own
    #[arg(long, env = "COGWHEEL_MAX_MESSAGE_BYTES", value_name = "BYTES", default_value_t = MAX_MESSAGE_BYTES,
        value_parser = clap::value_parser!(u32).range(2_097_152..=1_073_741_824))]
    pub max_message_bytes: u32,
    /// Bytes of messages that are not whole yet, of all calls together; a call with more is refused
    #[arg(long, env = "COGWHEEL_MAX_RECEIVING_BYTES", value_name = "BYTES", default_value_t = MAX_RECEIVING_BYTES,
        value_parser = clap::value_parser!(u64).range(2_097_152..=1_099_511_627_776))]
    pub max_receiving_bytes: u64,
    /// Whether clients may ask what services and messages there are
    #[arg(
        long,
        env = "COGWHEEL_REFLECTION",
        value_enum,
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    pub reflection: Switch,
    #[command(flatten)]
    /// The listener's TLS.
    pub tls: TlsArgs,
    /// The file whose tables say who may call what.
    #[arg(skip)]
    pub rules: Option<PathBuf>,
    /// Whether it has any.
    #[arg(skip)]
    pub ruled: bool,
}

/// gRPC's own default: four chunks of a tensor.
const MAX_MESSAGE_BYTES: u32 = 4 << 20;

/// Sixteen generations' requests at their largest.
const MAX_RECEIVING_BYTES: u64 = 1 << 30;

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl ServerArgs {
    /// The tables that only a file has.
    pub const TABLES: [TableKind; 2] = [TableKind::of::<Token>(), TableKind::of::<Identity>()];

    /// Remembers where tokens and identities are, to read them again whenever they change.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn take_tables(&mut self, tables: &mut FileTables) -> Result<(), Fatal> {
        self.rules = tables.file().map(Path::to_owned);
        self.ruled = !Rules::of(tables).map_err(Fatal::usage)?.is_empty();
        Ok(())
    }

    /// Opens the admin port, where there is to be one, of the process that ends with `shutdown`.
    ///
    /// # Errors
    /// When the port is in use.
    pub fn admin(&self, shutdown: &Shutdown) -> Result<Option<Admin>, Fatal> {
        let open = |address| Admin::start(address, shutdown.health().clone());
        self.admin_listen.map(open).transpose().map_err(Fatal::usage)
    }

    /// Binds the address, with what secures it.
    ///
    /// # Errors
    /// A port in use, a file that cannot be read: all of them bad usage.
    pub async fn bind(&self) -> Result<Listener, Fatal> {
        let tls = self.tls.open().map_err(Fatal::usage)?;
        let access = Access::open(self.rules.as_deref(), self.ruled).map_err(Fatal::usage)?;
        let mut listener = Listener::bind(self.listen).await.map_err(Fatal::usage)?;
        listener.tls = tls.map(Arc::new);
        listener.is_mutual = self.tls.tls_client_ca.is_some();
        listener.access = access;
        Ok(listener)
    }
}

/// What bounds a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at once on one connection.
    pub max_streams: u32,
    /// Connections at once.
    pub max_connections: usize,
    /// Time without a call after which a connection is closed.
    pub connection_idle: Duration,
    /// Time that a TLS handshake may take.
    pub handshake: Duration,
    /// Bytes of one message.
    pub max_message_bytes: usize,
    /// Bytes of messages that are not whole yet.
    pub max_receiving_bytes: usize,
    /// Whether clients may ask what services there are.
    pub reflection: bool,
    /// Time that running work may take once a drain has begun.
    pub grace: Duration,
}

impl Limits {
    /// Those of the flags.
    pub const DEFAULT: Self = Self {
        max_streams: 128,
        max_connections: 1024,
        connection_idle: Duration::from_secs(300),
        handshake: Duration::from_secs(10),
        max_message_bytes: MAX_MESSAGE_BYTES as usize,
        max_receiving_bytes: MAX_RECEIVING_BYTES as usize,
        reflection: true,
        grace: Duration::from_secs(30),
    };
}

impl From<&ServerArgs> for Limits {
    fn from(args: &ServerArgs) -> Self {
        Self {
            max_streams: args.max_streams,
            max_connections: args.max_connections as usize,
            connection_idle: Duration::from_secs(args.connection_idle_seconds),
            handshake: Duration::from_secs(args.handshake_seconds),
            max_message_bytes: args.max_message_bytes as usize,
            max_receiving_bytes: usize::try_from(args.max_receiving_bytes).unwrap_or(usize::MAX),
            reflection: args.reflection == Switch::On,
            grace: Duration::from_secs(args.grace_seconds),
        }
    }
}
