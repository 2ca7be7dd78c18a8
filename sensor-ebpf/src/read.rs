//! Reads of foreign memory. Each may fail, none may fault.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated;

/// A value of the kernel's memory.
#[inline(always)]
pub fn kernel<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value` or fails; any bytes are a valid `T`, as only
    // integers and arrays of them are read.
    unsafe {
        let size = size_of::<T>() as u32;
        let failed =
            generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, address as *const _);
        (failed == 0).then(|| value.assume_init())
    }
}

/// A value of the kernel's memory, put where it belongs; zero if it can't be read.
///
/// # Safety
/// `to` points to writable memory.
#[inline(always)]
pub unsafe fn kernel_into<T: Copy>(address: u64, to: *mut T) {
    // SAFETY: the helper writes all of `to`, zeroes where it fails.
    unsafe {
        generated::bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, address as *const _);
    }
}

/// The name of the running thread, put where it belongs; zeroes if it can't be told.
///
/// # Safety
/// `to` points to writable memory.
#[inline(always)]
pub unsafe fn comm_into(to: *mut [u8; 16]) {
    // SAFETY: the helper writes all of `to`, zeroes where it fails.
    unsafe { generated::bpf_get_current_comm(to.cast(), size_of::<[u8; 16]>() as u32) };
}

/// A value of the process's memory.
#[inline(always)]
pub fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `kernel`.
    unsafe {
        let size = size_of::<T>() as u32;
        let failed =
            generated::bpf_probe_read_user(value.as_mut_ptr().cast(), size, address as *const _);
        (failed == 0).then(|| value.assume_init())
    }
}

/// Whether `N` words of the process's memory can be read and are zero.
#[inline(always)]
pub fn user_is_zero<const N: usize>(address: u64) -> bool {
    let mut words = MaybeUninit::<[u64; N]>::uninit();
    // SAFETY: as in `kernel`; looked at where they are, because a copy costs the verifier.
    unsafe {
        let size = size_of::<[u64; N]>() as u32;
        let failed =
            generated::bpf_probe_read_user(words.as_mut_ptr().cast(), size, address as *const _);
        failed == 0
            && words
                .assume_init_ref()
                .iter()
                .fold(0, |all, word| all | word)
                == 0
    }
}

/// Fills `to` with `length` bytes of the process's memory; whether that went well.
/// `length` is 1 to `N`, and `N` a power of two.
///
/// The verifier needs the mask below, and the compiler drops it where it can tell that it
/// changes nothing: hand in a `length` that it knows nothing of.
#[inline(always)]
pub fn user_bytes<const N: usize>(to: *mut [u8; N], address: u64, length: u64) -> bool {
    let length = ((length - 1) & (N as u64 - 1)) + 1;
    // SAFETY: `to` has room for `N` bytes, and `length` is at most that.
    unsafe { generated::bpf_probe_read_user(to.cast(), length as u32, address as *const _) == 0 }
}
