//! The command line of `epollshim ctl`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const ABOUT: &str = "\
Steer running processes that keep a recording (epollshim run --record): arm
faults and limits, take them away, or take a report of each. Without an order:
status.

The process finds the request as one of its epoll calls returns, and is neither
stopped nor signalled. One that waits finds it when that wait ends: until then
the request stands, and further orders are added to it. Only its own user may
steer it, and root.";

const EXAMPLES: &str = "\
Exit status: 0 done; 1 refused by the process, it ended before, or its recording
was truncated, overwritten or (of snapshot) replaced meanwhile; 2 a
usage error (no such process, no recording, another user's, bad rules); 3 no
call has returned in time: the request stands (of snapshot: what was recorded is
reported, not compared with the kernel). Of several processes the highest.

Examples:
  epollshim ctl $(pidof redis-server) inject epoll_ctl:error=ENOSPC:op=ADD
  epollshim ctl 123 inject --replace 'epoll_wait:error=EINTR:prob=0.1'
  epollshim ctl 123 limit instances=8,watches=1000
  epollshim ctl $(pidof nginx) off          of all workers
  epollshim ctl 123                         what is armed, and what it did
  epollshim ctl 123 off                     all faults and limits away
  epollshim ctl 123 snapshot --format html -o now.html";

#[derive(Args, Debug)]
#[command(about = "Steer a running process: faults, limits, a report of it")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(override_usage = "epollshim ctl [--wait SECONDS] PID... [ORDER]", subcommand_precedence_over_arg = true)]
#[command(subcommand_value_name = "ORDER", subcommand_help_heading = "Orders", disable_help_subcommand = true)]
pub struct Ctl {
    /// How long to wait (snapshot: 1; others: 5)
    #[arg(long, value_name = "SECONDS", global = true)]
    pub wait: Option<String>,
    /// The processes
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<OsString>,
    #[command(subcommand)]
    pub order: Option<Order>,
}

#[derive(Subcommand, Debug)]
pub enum Order {
    /// Print what is armed, and how often it fired
    Status,
    /// Arm faults behind those that are armed: the rules of run --inject
    #[command(override_usage = "epollshim ctl PID inject [--replace] RULES...")]
    Inject {
        /// In place of those that are armed
        #[arg(long)]
        replace: bool,
        /// Such as epoll_wait:error=EINTR:when=3
        #[arg(value_name = "RULES", required = true)]
        rules: Vec<OsString>,
    },
    /// Set limits in place of all that are set: those of run --limit
    #[command(override_usage = "epollshim ctl PID limit LIMITS...")]
    Limit {
        /// Such as instances=8,watches=1000
        #[arg(value_name = "LIMITS", required = true)]
        limits: Vec<OsString>,
    },
    /// Take all faults and limits away, or one of the two
    #[command(override_usage = "epollshim ctl PID off [faults|limits]")]
    Off {
        #[arg(value_name = "faults|limits", value_enum, hide_possible_values = true)]
        what: Option<Armed>,
    },
    /// Report the process as it stands, compared with the kernel's lists
    #[command(override_usage = "epollshim ctl PID snapshot [--format FORMAT] [-o FILE]")]
    Snapshot {
        /// text, json, html, perfetto or prometheus
        #[arg(
            long,
            default_value = "text",
            hide_default_value = true,
            value_parser = ["text", "json", "html", "perfetto", "prometheus"],
            hide_possible_values = true,
            value_name = "FORMAT"
        )]
        format: String,
        /// The file to write, whole or not at all; else stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    Faults,
    Limits,
}
