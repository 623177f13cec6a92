//! `goobserve serve gateway`: a module proxy that stays. In: where to listen, what to ask. Out: the GOPROXY to
//! set, on stdout; the status when it was asked to end.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::connect::Network;
use gateway::gateway::{Config, Gateway};
use gateway::goproxy::List;
use gateway::netrc::{self, Netrc};
use gateway::patterns::Patterns;
use gateway::plan::{self, Plan, Sources};
use gateway::server::{self, Serving};
use gateway::store::CacheConfig;
use gateway::tls::{self, ServerConfig};
use model::user_error::UserError;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::output::{complain, refused, write_out};
use super::{as_caller, caller};
use crate::cli::options::GatewayOptions;
use crate::experiment::go_env;
use crate::goenv::GoEnv;
use crate::run::{Invoker, regular};
use crate::unique;

/// How long a 404 is believed: by one command to its end, by a server a minute.
const MISSING_COMMAND: Duration = Duration::from_hours(1);
const MISSING_SERVER: Duration = Duration::from_mins(1);

/// Serves until it is asked to end.
pub(super) fn gateway(options: &GatewayOptions) -> i32 {
    if !options.allow_remote && !server::is_loopback(&options.listen) {
        let error = UserError::new(
            format!("{} is reached by other machines", options.listen),
            "they could have any module fetched, with your credentials for its proxy: --allow-remote, or listen on 127.0.0.1",
        );
        return refused(options.common, &error, 2);
    }
    match serve(options) {
        Ok(()) => 0,
        Err(error) => refused(options.common, &error, 1),
    }
}

fn serve(options: &GatewayOptions) -> Result<(), UserError> {
    let invoker = if options.for_command { own() } else { caller() };
    as_caller()?;
    let go = go_env(None, &invoker);
    let config = config(options, &invoker, &go)?;
    let tls = tls(options)?;
    let gateway = Gateway::new(config).map_err(|error| {
        UserError::new(format!("the cache cannot be opened: {error}"), "name another folder: --cache DIR")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| UserError::new(format!("cannot wait for anything: {error}"), "check ulimit -n"))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.map_err(|error| {
            UserError::new(
                format!("cannot listen on {}: {error}", options.listen),
                "name another address: --listen 127.0.0.1:0",
            )
        })?;
        let address = listener.local_addr().unwrap_or(options.listen);
        let no_signals = |error: io::Error| {
            UserError::new(
                format!("cannot take signals: {error}"),
                "check the limit on open files (ulimit -n)",
            )
        };
        let hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let end = end(options.for_command).map_err(no_signals)?;
        announce(options, &gateway, &address)?;
        let warm = Arc::clone(&gateway);
        tokio::spawn(async move { warm.warm().await });
        let (sender, serving) = watch::channel(Serving { gateway, tls });
        tokio::spawn(renew(options.clone(), invoker, sender, hangup));
        server::serve(serving, listener, end).await;
        Ok(())
    })
}

/// Reads everything anew whenever that is asked for. What cannot be read leaves it as it was.
async fn renew(
    options: GatewayOptions,
    invoker: Invoker,
    serving: watch::Sender<Serving>,
    mut hangup: Signal,
) {
    let (options, invoker) = (Arc::new(options), Arc::new(invoker));
    while hangup.recv().await.is_some() {
        let (known, reader) = (Arc::clone(&options), Arc::clone(&invoker));
        // The go command is asked: others are served meanwhile.
        let read = spawn_blocking(move || {
            let go = go_env(None, &reader);
            Ok::<_, UserError>((config(&known, &reader, &go)?, tls(&known)?))
        });
        match read.await {
            Ok(Ok((config, tls))) => {
                let gateway = serving.borrow().gateway.renewed(config);
                serving.send_replace(Serving { gateway, tls });
                complain(options.common, "settings, .netrc and certificates were read anew", "");
            }
            Ok(Err(error)) => {
                complain(options.common, &format!("nothing is changed: {}", error.what), &error.hint);
            }
            Err(_) => {}
        }
    }
}

/// TLS, where it is asked for.
fn tls(options: &GatewayOptions) -> Result<Option<Arc<ServerConfig>>, UserError> {
    let Some((certificates, key)) = &options.tls else { return Ok(None) };
    let read = |path: &Path| {
        regular::read(path, tls::FILE_MAX).ok_or_else(|| {
            UserError::new(
                format!("{} cannot be read", path.display()),
                "name a file that this user may read",
            )
        })
    };
    let made = tls::server(&read(certificates)?, &read(key)?);
    made.map(Some).map_err(|error| {
        let files = format!("{} and {}", certificates.display(), key.display());
        UserError::new(
            format!("{files}: {error}"),
            "--tls-cert takes certificates, --tls-key their key, in PEM",
        )
    })
}

fn config(options: &GatewayOptions, invoker: &Invoker, go: &GoEnv) -> Result<Config, UserError> {
    let text = options.upstream.as_ref().map(|list| list.to_string_lossy().into_owned());
    let list = text.or_else(|| go.get("GOPROXY").map(str::to_owned)).ok_or_else(|| {
        UserError::new(
            "the GOPROXY that go would use is not known",
            "name the proxies: --upstream https://proxy.test,direct",
        )
    })?;
    let list = List::parse(&list).map_err(|error| {
        UserError::new(error.to_string(), "name the proxies: --upstream https://proxy.test,direct")
    })?;
    let private =
        |name: &str| Patterns::parse(go.get(name).or_else(|| go.get("GOPRIVATE")).unwrap_or_default());
    let (no_proxy, no_sumdb) = (private("GONOPROXY"), private("GONOSUMDB"));
    // With another go.mod than the folder's nothing is certain.
    let other_file = go.get("GOFLAGS").is_some_and(|flags| flags.contains("modfile"));
    let no_workspace = go.get("GOWORK") == Some("off");
    let plan = options.module_dir.as_ref().filter(|_| !other_file).map(|dir| {
        let mod_cache = go.gomodcache().map(PathBuf::from);
        Plan::read(&Sources {
            dir: dir.clone(),
            mod_cache,
            no_proxy: no_proxy.clone(),
            no_sumdb,
            no_workspace,
        })
    });
    // A command's own cache goes with it, and go has checked what came from there: nothing is gained.
    let kept_for_others = options.module_dir.as_ref().filter(|_| !options.for_command);
    let sums = kept_for_others.map(|dir| plan::go_sum(dir)).unwrap_or_default();
    let dir = match options.cache_size {
        0 => None,
        _ => Some(options.cache.clone().or_else(|| cache_dir(invoker)).ok_or_else(|| {
            UserError::new("there is no folder for the cache: HOME is not set", "name one: --cache DIR")
        })?),
    };
    let variable = |name: &str| invoker.var(name).map(|value| value.to_string_lossy().into_owned());
    Ok(Config {
        list,
        netrc: if go.get("GOAUTH").is_some_and(|auth| auth == "off") {
            Netrc::default()
        } else {
            netrc(invoker)
        },
        cache: CacheConfig::in_dir(dir, options.cache_size),
        network: Network::from_env(variable),
        no_proxy,
        plan: plan.unwrap_or_default(),
        missing_age: if options.for_command { MISSING_COMMAND } else { MISSING_SERVER },
        sums,
        // Nobody guesses an address with 128 random bits.
        secret: options.for_command.then(|| format!("{:016x}{:016x}", unique::random(), unique::random())),
    })
}

/// What is to be set, and what a user should know.
fn announce(options: &GatewayOptions, gateway: &Gateway, address: &SocketAddr) -> Result<(), UserError> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let base = match &options.host {
        Some(host) => format!("{scheme}://{host}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    };
    let line = format!("GOPROXY={}\n", gateway.for_go(&base));
    write_out(line.as_bytes()).map_err(|error| {
        UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads")
    })?;
    if options.common.quiet || options.for_command {
        return Ok(());
    }
    if !server::is_loopback(address) {
        complain(
            options.common,
            &format!(
                "whoever reaches {address} can have any public module fetched, without a login{}",
                if options.tls.is_some() { "" } else { " and without TLS" }
            ),
            "let only machines you trust reach it",
        );
    }
    if gateway.has_credentials() {
        complain(
            options.common,
            "a proxy is asked with your credentials: whoever reaches the gateway, every user of this machine too, reads with them",
            "leave the credentials out of the list and of .netrc where that is not wanted",
        );
    }
    Ok(())
}

/// Done when a signal says so, or, for one command, when stdin ends.
pub(super) fn end(with_stdin: bool) -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (ended, mut stdin) = tokio::sync::oneshot::channel::<()>();
    if with_stdin {
        // A thread of its own: reading a pipe blocks. It ends with the process.
        std::thread::Builder::new().spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            drop(ended);
        })?;
    } else {
        std::mem::forget(ended);
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = &mut stdin => {}
        }
    })
}

/// This process's own environment, as it is.
pub(super) fn own() -> Invoker {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    Invoker { uid, gid, groups: Vec::new(), env, home, umask: None, not_restored: Vec::new() }
}

fn cache_dir(invoker: &Invoker) -> Option<PathBuf> {
    let absolute = |name: &str| invoker.var(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(invoker.home.as_ref()?.join(".cache")))?;
    Some(base.join("goobserve/gateway"))
}

pub(super) fn netrc(invoker: &Invoker) -> Netrc {
    let named = invoker.var("NETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = named.or_else(|| Some(invoker.home.as_ref()?.join(".netrc"))) else {
        return Netrc::default();
    };
    let text = regular::read(&path, netrc::FILE_MAX).unwrap_or_default();
    Netrc::parse(&String::from_utf8_lossy(&text))
}
