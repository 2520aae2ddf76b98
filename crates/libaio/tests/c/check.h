/* What the C programs of the tests share. */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      _exit(1);                                                                       \
    }                                                                                 \
  } while (0)

/* The system's room for contexts is shared with other programs. */
static inline int set_up(int events, io_context_t *place) {
  int answer, tries = 2000;
  while ((answer = io_setup(events, place)) == -EAGAIN && tries-- > 0) usleep(10000);
  return answer;
}

/* What a context's memory begins with. */
struct ring {
  unsigned id, nr, head, tail, magic, compat, incompat, length;
  struct io_event events[];
};

/* The call that a thread sleeps in, or -1. */
static inline int call_of(pid_t thread) {
  char name[64], text[64];
  snprintf(name, sizeof name, "/proc/self/task/%d/syscall", thread);
  int about = open(name, O_RDONLY);
  ssize_t length = read(about, text, sizeof text - 1);
  close(about);
  CHECK(length > 0);
  text[length] = 0;
  return text[0] >= '0' && text[0] <= '9' ? atoi(text) : -1;
}

/* Returns when a thread waits for events: in the kernel, or, in a library of its own, for a word to change. */
static inline void await_wait(pid_t thread) {
  for (;;) {
    int call = call_of(thread);
    if (call == SYS_io_getevents || call == SYS_io_pgetevents || call == SYS_futex) return;
    sched_yield();
  }
}
