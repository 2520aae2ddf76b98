/* The symbols of libaio.so.1, with their versions, and syscall(2). All they do is in the Rust library.
 *
 * syscall is not versioned, so that the loader takes it in front of the C library's: programs that make the calls of
 * kernel AIO by number are served too. All other calls are made here, as the C library makes them: the
 * function pushes nothing, so that even a clone onto another stack returns there.
 */

struct io_event;
struct iocb;
struct timespec;

#define EXPORT __attribute__((visibility("default")))
#define VERSION(function, symbol) __asm__(".symver " #function "," symbol)

long syslet_io_setup(unsigned, void **);
long syslet_io_destroy(void *);
long syslet_io_submit(void *, long, struct iocb **);
long syslet_io_cancel(void *, struct iocb *, struct io_event *);
long syslet_io_getevents(void *, long, long, struct io_event *, struct timespec *);
long syslet_io_pgetevents(void *, long, long, struct io_event *, struct timespec *, void *);
long syslet_io_queue_run(void *);
long syslet_io_by_number(long, long, long, long, long, long, long);
int *__errno_location(void);

EXPORT int io_setup(int events, void **context) { return syslet_io_setup(events, context); }
EXPORT int io_destroy(void *context) { return syslet_io_destroy(context); }
EXPORT int io_submit(void *context, long nr, struct iocb **iocbs) {
  return syslet_io_submit(context, nr, iocbs);
}
EXPORT int io_pgetevents(void *context, long least, long nr, struct io_event *events,
                         struct timespec *timeout, void *mask) {
  return syslet_io_pgetevents(context, least, nr, events, timeout, mask);
}

EXPORT int io_queue_init(int events, void **context) {
  if (events <= 0) return -22; /* EINVAL */
  *context = 0;
  return syslet_io_setup(events, context);
}
EXPORT int io_queue_release(void *context) { return syslet_io_destroy(context); }
EXPORT int io_queue_run(void *context) { return syslet_io_queue_run(context); }

int cancel_new(void *context, struct iocb *iocb, struct io_event *event) {
  return syslet_io_cancel(context, iocb, event);
}
int cancel_old(void *context, struct iocb *iocb) {
  long event[4];
  return syslet_io_cancel(context, iocb, (struct io_event *)event);
}
int getevents_new(void *context, long least, long nr, struct io_event *events,
                  struct timespec *timeout) {
  return syslet_io_getevents(context, least, nr, events, timeout);
}
int getevents_old(void *context, long nr, struct io_event *events, struct timespec *timeout) {
  return syslet_io_getevents(context, 1, nr, events, timeout);
}
int wait_new(void *context, struct timespec *timeout) {
  return syslet_io_getevents(context, 0, 0, 0, timeout);
}
int wait_old(void *context, struct timespec *timeout) {
  return syslet_io_getevents(context, 0, 0, 0, timeout);
}
VERSION(cancel_new, "io_cancel@@LIBAIO_0.4");
VERSION(cancel_old, "io_cancel@LIBAIO_0.1");
VERSION(getevents_new, "io_getevents@@LIBAIO_0.4");
VERSION(getevents_old, "io_getevents@LIBAIO_0.1");
VERSION(wait_new, "io_queue_wait@@LIBAIO_0.4");
VERSION(wait_old, "io_queue_wait@LIBAIO_0.1");

__attribute__((used)) static long fail(long answer) {
  *__errno_location() = (int)-answer;
  return -1;
}

/* As the C library has it, behind a look at the number: io_setup, io_destroy, io_getevents, io_submit, io_cancel are
 * 206 to 210, io_pgetevents is 333 (x86-64). */
EXPORT __attribute__((naked)) long syscall(long nr, ...) {
  __asm__("lea -206(%rdi), %rax\n\t"
          "cmp $4, %rax\n\t"
          "jbe 1f\n\t"
          "cmp $333, %rdi\n\t"
          "je 1f\n\t"
          "mov %rdi, %rax\n\t"
          "mov %rsi, %rdi\n\t"
          "mov %rdx, %rsi\n\t"
          "mov %rcx, %rdx\n\t"
          "mov %r8, %r10\n\t"
          "mov %r9, %r8\n\t"
          "mov 8(%rsp), %r9\n\t"
          "syscall\n\t"
          "cmp $-4095, %rax\n\t"
          "jae 2f\n\t"
          "ret\n"
          "1: jmp syslet_io_by_number\n"
          "2: mov %rax, %rdi\n\t"
          "jmp fail");
}
