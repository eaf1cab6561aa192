//! The `hactl` binary: everything lives in the library.

fn main() -> std::process::ExitCode {
    hactl::cli::main()
}
