//! The `lattice` binary: hands its arguments to the library and exits with what that says.

fn main() -> std::process::ExitCode {
    lattice_fs::cli::main(std::env::args_os())
}
