/* Writes whose source is a mapping of a file that takes long to read, so that they take long wherever they go: how long
 * io_submit took, in milliseconds, a line for each kind. Arguments: the slow file, a folder, and for guests one more.
 * "skipped" for all where the folder's file system can be asked to write without waiting: it looks at the source
 * then. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include "check.h"

enum { LARGE = 300 << 10, MIB = 1 << 20 };

static io_context_t context;

static double now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void slow_write(const char *what, struct iocb *iocb, size_t length) {
  struct io_event event;
  double begun = now();
  CHECK(io_submit(context, 1, &iocb) == 1);
  double submitted = now() - begun;
  CHECK(io_getevents(context, 1, 1, &event, NULL) == 1 && event.obj == iocb && event.res == length);
  CHECK(now() - begun > 250); /* else nothing was tested */
  printf("%s %.0f\n", what, submitted);
}

int main(int count, char **args) {
  CHECK(count >= 3);
  int slow = open(args[1], O_RDONLY), guest = count > 3;
  CHECK(slow >= 0 && chdir(args[2]) == 0 && set_up(8, &context) == 0);
  int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600), synced = open("file", O_RDWR | O_SYNC);
  char *from = mmap(NULL, 4 * MIB, PROT_READ, MAP_PRIVATE, slow, 0);
  CHECK(file >= 0 && synced >= 0 && from != MAP_FAILED);
  struct iovec byte = {"x", 1};
  if (pwritev2(file, &byte, 1, 0, RWF_NOWAIT) == 1 || errno != EOPNOTSUPP) {
    printf("skipped\n");
    return 0;
  }
  struct iocb iocb;
  io_prep_pwrite(&iocb, file, from, LARGE, 0);
  slow_write("large", &iocb, LARGE);
  io_prep_pwrite(&iocb, synced, from + MIB, PAGE, 0);
  slow_write("synced", &iocb, PAGE);
  io_prep_pwrite(&iocb, file, from + 2 * MIB, PAGE, 0);
  iocb.aio_rw_flags = RWF_DSYNC;
  slow_write("flagged", &iocb, PAGE);
  io_prep_pwrite(&iocb, file, from + 3 * MIB, PAGE, 0);
  if (guest) slow_write("small", &iocb, PAGE);
  return io_destroy(context) != 0;
}
