/*
 * syslet/nonseqfd.h - private descriptors, as Ulrich Drepper wanted them (2007).
 */
#ifndef SYSLET_NONSEQFD_H
#define SYSLET_NONSEQFD_H

#ifdef __cplusplus
extern "C" {
#endif

/* Close `fd` once it was duplicated. */
#define NONSEQFD_CLOSE 0x1

/*
 * Duplicates `fd` to a number that nobody can foretell, in the upper half of those that RLIMIT_NOFILE allows (of
 * the first 65,536), which the rule of the lowest free number reaches last. It is closed on exec. The descriptor, or
 * -EBADF, -EINVAL for unknown flags, -EMFILE if there is none left, -EAGAIN if the kernel gives no random number. It
 * can still be seen in /proc/self/fd, and closed by who closes all. Handlers: yes.
 */
int nonseqfd(int fd, int flags);

#ifdef __cplusplus
}
#endif

#endif
