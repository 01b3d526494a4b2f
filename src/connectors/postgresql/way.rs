//! The way to the server: TLS, over a connection on which no answer can be too large.

use std::sync::Arc;

use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::bounded::{Allowance, Bounded};

type Inner = MakeRustlsConnect;
type Connect = <Inner as MakeTlsConnect<Bounded<Socket>>>::TlsConnect;

/// Makes one connection.
pub struct Way {
    /// How TLS is talked.
    pub tls: Inner,
    /// What may be read on the connection.
    pub allowance: Arc<Allowance>,
}

impl MakeTlsConnect<Socket> for Way {
    type Stream = <Connect as TlsConnect<Bounded<Socket>>>::Stream;
    type TlsConnect = Step;
    type Error = <Inner as MakeTlsConnect<Bounded<Socket>>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Step, Self::Error> {
        let connect = MakeTlsConnect::<Bounded<Socket>>::make_tls_connect(&mut self.tls, host)?;
        Ok(Step { connect, allowance: self.allowance.clone() })
    }
}

/// Begins TLS on a connection that is open.
pub struct Step {
    connect: Connect,
    allowance: Arc<Allowance>,
}

impl TlsConnect<Socket> for Step {
    type Stream = <Connect as TlsConnect<Bounded<Socket>>>::Stream;
    type Error = <Connect as TlsConnect<Bounded<Socket>>>::Error;
    type Future = <Connect as TlsConnect<Bounded<Socket>>>::Future;

    fn connect(self, socket: Socket) -> Self::Future {
        self.connect.connect(Bounded::new(socket, self.allowance))
    }
}
