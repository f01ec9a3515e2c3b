//! Bare Pingora: one listener, one thread, one upstream, no logic. The floor that the benchmark compares with.
//!
//! Usage: `passthrough LISTEN UPSTREAM`, two `ip:port` pairs.

use std::{env, net::SocketAddr, process::ExitCode};

use async_trait::async_trait;
use pingora::{
    modules::http::HttpModules,
    prelude::{HttpPeer, ProxyHttp, Result, Server, Session, http_proxy_service},
    server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct PassThrough {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    /// The default adds a compression module, which nothing here uses.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> ExitCode {
    let addresses: Vec<SocketAddr> = env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [listen, upstream] = addresses[..] else {
        eprintln!("usage: passthrough LISTEN UPSTREAM (two ip:port pairs)");
        return ExitCode::from(2);
    };
    let conf = ServerConf {
        threads: 1,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PassThrough { upstream });
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}
