//! Stand-ins for what is around the code under test: a clock moved by hand, a host that records, an
//! executor that plays a script, a notifier that loses things.

mod clock;
mod executor;
mod faulty;
mod faulty_log;
mod host;
mod player;
mod script;

pub use clock::{ManualClock, TokioClock};
pub use executor::ScriptedExecutor;
pub use faulty::{Faults, Faulty};
pub use faulty_log::FaultyLog;
pub use host::{HostCall, HostDouble};
pub use script::{Gate, Step};
