//! psm-agent: power state monitoring agent of a Linux appliance.

fn main() -> daemon_kit::exit::Exit {
    psm_agent::cli::main()
}
