/* Requests that the kernel does asynchronously by itself, of all kinds in one batch, and some that fail: for the
 * report. The argument is a folder of a file system with O_DIRECT. */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/uio.h>
#include "check.h"

int main(int count, char **args) {
  CHECK(count == 2 && chdir(args[1]) == 0);
  int file = open("file", O_RDWR | O_CREAT | O_DIRECT, 0600), ends[2];
  char *page = aligned_alloc(PAGE, PAGE);
  struct iovec vector = {page, PAGE};
  io_context_t context = 0;
  struct iocb iocbs[8], *list[8];
  struct io_event events[8];
  CHECK(file >= 0 && pipe(ends) == 0 && set_up(16, &context) == 0);
  CHECK(pwrite(file, page, PAGE, 0) == PAGE);
  for (int i = 0; i < 8; i++) list[i] = &iocbs[i];
  io_prep_fdsync(&iocbs[0], file);
  CHECK(io_submit(context, 1, list) == 1);
  io_prep_fsync(&iocbs[1], file);
  io_prep_pread(&iocbs[2], file, page, PAGE, 0);
  io_prep_poll(&iocbs[3], ends[1], POLLOUT);
  io_prep_pwrite(&iocbs[4], file, page, PAGE, 0);
  io_prep_preadv(&iocbs[5], file, &vector, 1, 0);
  io_prep_pwritev(&iocbs[6], file, &vector, 1, 0);
  io_prep_pread(&iocbs[7], file, page + 1, PAGE - 1, 0); /* not aligned: an event says so */
  CHECK(io_submit(context, 7, list + 1) == 7);
  CHECK(io_getevents(context, 8, 8, events, NULL) == 8);
  io_prep_pread(&iocbs[0], 999, page, PAGE, 0); /* nothing that is open: refused */
  CHECK(io_submit(context, 1, list) == -EBADF);
  return io_destroy(context) != 0;
}
