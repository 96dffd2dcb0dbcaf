//! Hands over to the command line.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    without_huge_pages();
    adlake::cli::run()
}

/// Ingest takes and gives back megabytes per request. With transparent huge pages the kernel clears two megabytes for each
/// first touch, which took half of the CPU time of `bench ingest --protocol arrow`; see benches/RESULTS.md.
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    // A kernel without the setting is slower, nothing else.
    let _ = nix::sys::prctl::set_thp_disable(true);
}
