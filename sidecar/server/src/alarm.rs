//! The alarm that a canary raises: a metric, a line of the log, and, of the same request, a record of the audit trail.

use std::sync::Arc;

use lunasec_core::{audit::hex, policy::Caller, token::Token};

use crate::{audit::audit_id, env::Clock, seldom::Seldom, telemetry::Telemetry, vault::Call};

/// See the module.
pub struct Alarm {
    telemetry: Arc<Telemetry>,
    /// Whoever makes a noise of them does not fill a disk: the metric and the trail have each.
    lines: Seldom,
}

impl Alarm {
    /// One that nothing has raised.
    pub fn new(telemetry: Arc<Telemetry>, clock: Arc<dyn Clock>) -> Self {
        Self { telemetry, lines: Seldom::new(clock) }
    }

    /// Says that a canary was used, by whom, and what its note says.
    pub fn raise(&self, call: &Call, token: &Token, note: &str) {
        self.telemetry.canary(call.operation);
        let Some(left_out) = self.lines.admit() else { return };
        let Caller { uid, gid, pid } = call.caller;
        tracing::error!(
            id = call.trail.request(),
            operation = call.operation.as_str(),
            client = call.guest.client.name,
            uid,
            gid,
            pid,
            namespace = call.namespace.as_str(),
            token = hex(&audit_id(&call.namespace, token)),
            note,
            left_out,
            "a canary was used: somebody has tokens from where it lies; find out who, and what else was revealed, with `lunasec audit find`",
        );
    }
}
