//! What the mount asks of the kernel at the handshake, each only where it is offered.

use fuser::{InitFlags, KernelConfig};

/// Bytes of one write or read request.
const MAX_REQUEST: u32 = 1 << 20;

const FLAGS: [InitFlags; 11] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_MAX_PAGES,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    // Without it the kernel asks for `security.capability` at every write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // The watcher says what has changed: the kernel need not guess from times.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_ASYNC_DIO,
];

pub fn ask(config: &mut KernelConfig) {
    for flag in FLAGS {
        // What this kernel doesn't know it does without.
        let _ = config.add_capabilities(flag);
    }
    // Both answer with the nearest value that is allowed, and keep theirs.
    let _ = config.set_max_write(MAX_REQUEST);
    if let Err(most) = config.set_max_readahead(MAX_REQUEST) {
        let _ = config.set_max_readahead(most);
    }
    let _ = config.set_max_background(32);
}
