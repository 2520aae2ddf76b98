/* What the C programs of the tests share. */
#include <errno.h>
#include <libaio.h>
#include <stdio.h>
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
