//! Runs a program as on a kernel that takes no tracing programs: `without-tracing PROGRAM [ARGUMENT]...`.
//!
//! Such a kernel (BPF_SYSCALL without BPF_EVENTS) knows bpf(2) and its maps, but answers every load of a tracing program with
//! EINVAL before it looks at it. A filter on system calls answers the same.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// BPF_PROG_LOAD of linux/bpf.h.
const PROG_LOAD: u64 = 5;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("usage: without-tracing PROGRAM [ARGUMENT]...")?;
    let is_load = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PROG_LOAD)?;
    let rules = BTreeMap::from([(libc::SYS_bpf, vec![SeccompRule::new(vec![is_load])?])]);
    let refuse = SeccompAction::Errno(libc::EINVAL as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let filter: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&filter)?;
    Err(Command::new(program).args(arguments).exec().into())
}
