//! The binary: the demo agent, served.

fn main() -> anyhow::Result<()> {
    runloom::Runloom::with_demo().main()
}
