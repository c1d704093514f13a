//! The command line of `epollshim ctl`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const ABOUT: &str = "\
Control running processes: arm or remove faults and limits, or report on them.
Without an ORDER, print the status.

The processes must keep recordings (epollshim run --record DIR). Only their own
user and root can control them.

A process carries out an order when its next epoll call returns. It is neither
stopped nor signalled. A process that waits in epoll_wait carries out the order
when that wait ends. Until then the request stays pending, and further orders
are appended to it.";

const EXAMPLES: &str = "\
Exit status:
  0  done
  1  not done: the process refused or has ended, or its recording was
     truncated, overwritten or (snapshot) replaced meanwhile
  2  usage error: no such process, no recording, another user's, bad rules
  3  no call returned in time: the request stays pending; a snapshot is
     printed from the recording, without a comparison with the kernel
  With several processes: the highest.

Examples:
  epollshim ctl $(pidof redis-server) inject epoll_ctl:error=ENOSPC:op=ADD
  epollshim ctl $(pidof nginx) off
  epollshim ctl 4711 snapshot --format html -o now.html";

#[derive(Args, Debug)]
#[command(about = "Control running processes: faults, limits, reports")]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
#[command(override_usage = "epollshim ctl [--wait SECONDS] PID... [ORDER]", subcommand_precedence_over_arg = true)]
#[command(subcommand_value_name = "ORDER", subcommand_help_heading = "Orders", disable_help_subcommand = true)]
pub struct Ctl {
    /// Wait this long for a process. Default: 5; snapshot: 1
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
    #[command(override_usage = "epollshim ctl PID... status")]
    Status,
    /// Append faults to those that are armed: the rules of run --inject
    #[command(override_usage = "epollshim ctl PID... inject [--replace] RULES...")]
    Inject {
        /// Replace the faults that are armed
        #[arg(long)]
        replace: bool,
        /// For example epoll_wait:error=EINTR:when=3
        #[arg(value_name = "RULES", required = true)]
        rules: Vec<OsString>,
    },
    /// Replace all limits: the values of run --limit
    #[command(override_usage = "epollshim ctl PID... limit LIMITS...")]
    Limit {
        /// For example instances=8,watches=1000
        #[arg(value_name = "LIMITS", required = true)]
        limits: Vec<OsString>,
    },
    /// Remove all faults and limits, or only one kind
    #[command(override_usage = "epollshim ctl PID... off [faults|limits]")]
    Off {
        /// Remove only these
        #[arg(value_name = "faults|limits", value_enum, hide_possible_values = true)]
        what: Option<Armed>,
    },
    /// Report on the process as it is now, compared with the kernel's lists
    #[command(override_usage = "epollshim ctl PID... snapshot [--format FORMAT] [-o FILE]")]
    Snapshot {
        /// Write it as text, json, html, perfetto or prometheus
        #[arg(
            long,
            default_value = "text",
            hide_default_value = true,
            value_parser = ["text", "json", "html", "perfetto", "prometheus"],
            hide_possible_values = true,
            value_name = "FORMAT"
        )]
        format: String,
        /// Write to FILE, all or nothing. Default: stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    Faults,
    Limits,
}
